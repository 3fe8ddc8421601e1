"""Specs in the words of Docker's API: the bodies of create requests. Pure.

A sandbox on no network is made with `NetworkDisabled`: its empty network namespace then comes from the low-level
runtime, which costs nothing, and not from Docker's own network code, which would more than double the start. Docker
gives such a container (and those that join it) no `/etc/hosts` and `/etc/resolv.conf`: the agent mounts its own.
Containers take their host name from the sandbox they join, which is why a sandbox cannot be made ahead of its pod.
"""

from __future__ import annotations

from typing import Any

from nodeagent.runtime import naming
from nodeagent.runtime.archive import PAUSE_REF
from nodeagent.runtime.values import ContainerSpec, Limits, Mount, SandboxSpec

Body = dict[str, Any]

_PAUSE_OOM_SCORE_ADJ = -998  # losing a pause process loses the whole pod, so it is the last to be chosen


def sandbox_body(spec: SandboxSpec, oom_floor: int) -> Body:
    """The create request of a sandbox; no OOM score adjustment goes below the floor."""
    own_network = spec.network == "none"
    host: Body = {
        "NetworkMode": spec.network,
        "IpcMode": "host" if spec.host_ipc else "shareable",
        "PidMode": "host" if spec.host_pid else "",
        "CgroupParent": spec.cgroup_parent,
        "Sysctls": dict(spec.sysctls),
        "LogConfig": {"Type": "none"},
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["seccomp=unconfined", "no-new-privileges"],
        "OomScoreAdj": max(_PAUSE_OOM_SCORE_ADJ, oom_floor),
        "Runtime": spec.handler,
    }
    return {
        "Image": PAUSE_REF,
        "Hostname": spec.hostname if own_network else "",
        "NetworkDisabled": own_network,
        "Labels": naming.pod_labels("sandbox", spec.pod, spec.attempt) | _custom(spec),
        "HostConfig": host,
    }


def container_body(spec: ContainerSpec, oom_floor: int) -> Body:
    """The create request of a container; no OOM score adjustment goes below the floor."""
    labels = naming.pod_labels("container", spec.pod, spec.attempt)
    labels[naming.CONTAINER] = spec.name
    labels[naming.SANDBOX_ID] = spec.sandbox_id
    labels[naming.SPEC_HASH] = spec.spec_hash
    body: Body = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.env],
        "WorkingDir": spec.working_dir,
        "User": spec.user,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        "Labels": labels | _custom(spec),
        "HostConfig": _host_config(spec, oom_floor),
    }
    if spec.command:
        body["Entrypoint"] = list(spec.command)
    if spec.args:
        body["Cmd"] = list(spec.args)
    if spec.stop_signal:
        body["StopSignal"] = spec.stop_signal
    return body


def _host_config(spec: ContainerSpec, oom_floor: int) -> Body:
    sandbox = f"container:{spec.sandbox_id}"
    return {
        "NetworkMode": sandbox,
        "IpcMode": "host" if spec.host_ipc else sandbox,
        "PidMode": _pid_mode(spec),
        "CgroupParent": spec.cgroup_parent,
        "Mounts": [_mount(mount) for mount in spec.mounts],
        "Devices": [
            {"PathOnHost": d.host_path, "PathInContainer": d.container_path, "CgroupPermissions": d.permissions}
            for d in spec.devices
        ],
        "OomScoreAdj": max(spec.oom_score_adj, oom_floor),
        "Privileged": spec.privileged,
        "CapAdd": list(spec.cap_add),
        "CapDrop": list(spec.cap_drop),
        "GroupAdd": [str(group) for group in spec.supplemental_groups],
        "ReadonlyRootfs": spec.read_only_root,
        "SecurityOpt": _security(spec),
        "Runtime": spec.handler,
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(spec.log.max_size_bytes), "max-file": str(spec.log.max_files)},
        },
        **limits_body(spec.limits),
    }


def _mount(mount: Mount) -> Body:
    return {
        "Type": "bind",
        "Source": mount.host_path,
        "Target": mount.container_path,
        "ReadOnly": mount.read_only,
        # Private is Docker's default; told so in words, it refuses every folder that holds its own.
        "BindOptions": {} if mount.propagation == "private" else {"Propagation": mount.propagation},
    }


def _pid_mode(spec: ContainerSpec) -> str:
    if spec.host_pid:
        return "host"
    if spec.share_pid:
        return f"container:{spec.sandbox_id}"
    return f"container:{spec.pid_of}" if spec.pid_of else ""


def limits_body(limits: Limits) -> Body:
    """Bounds, for the making of a container and for an update of one."""
    return {
        "CpuShares": limits.cpu_shares,
        "CpuQuota": limits.cpu_quota_us,
        "CpuPeriod": limits.cpu_period_us,
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,
        **({"PidsLimit": limits.pids} if limits.pids else {}),
    }


def _security(spec: ContainerSpec) -> list[str]:
    options = ["no-new-privileges"] if spec.no_new_privileges else []
    match spec.seccomp:
        case "RuntimeDefault":
            pass  # Docker's own profile, which it applies when told nothing
        case "Unconfined":
            options.append("seccomp=unconfined")
        case profile:
            options.append(f"seccomp={profile}")
    if spec.app_armor:
        options.append(f"apparmor={spec.app_armor}")
    return options


def _custom(spec: SandboxSpec | ContainerSpec) -> dict[str, str]:
    return {naming.CUSTOM + key: value for key, value in spec.labels.items()}
