"""The pause program: the one process of every sandbox, emitted as machine code so that no compiler is needed.

It does what process 1 of a pod must and nothing else: hold the namespaces, end at once on SIGTERM or SIGINT, and
collect ended processes when the pod shares its process namespace. It installs no handlers: it blocks the three
signals and takes them one by one (the kernel keeps blocked signals even for a process 1, which would otherwise lose
those without a handler). In C:

    block(SIGINT, SIGTERM, SIGCHLD);
    for (;;) {
        int taken = sigtimedwait(all three, no timeout);
        if (taken == SIGCHLD) while (wait4(-1, NULL, WNOHANG, NULL) > 0);
        else if (taken >= 0) exit(0);
    }
"""

from __future__ import annotations

import struct

_SIGNALS = 1 << (2 - 1) | 1 << (15 - 1) | 1 << (17 - 1)
_SIGCHLD = 17
_BASE = 0x400000
_HEADERS = 64 + 56

_X86_64 = bytes.fromhex(
    "68 02400100"  # push   _SIGNALS           the set lies on the stack from here on
    "48 89e6 31ff 31d2 6a08 415a 6a0e 58 0f05"  # rt_sigprocmask(SIG_BLOCK, set, NULL, 8)
    # wait:
    "48 89e7 31f6 31d2 6a08 415a b8 80000000 0f05"  # rt_sigtimedwait(set, NULL, NULL, 8)
    "83f8 11 74 0b"  # SIGCHLD: go to reap
    "85c0 78 e5"  # interrupted: go to wait
    "31ff 6a3c 58 0f05"  # exit(0)
    # reap:
    "6aff 5f 31f6 6a01 5a 4531d2 6a3d 58 0f05"  # wait4(-1, NULL, WNOHANG, NULL)
    "85c0 7f ec"  # one was collected: go to reap
    "eb c8"  # go to wait
)


def _aarch64() -> bytes:
    svc, sp = 0xD4000001, 31

    def mov(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    def from_sp(register: int) -> int:
        return 0x91000000 | sp << 5 | register

    def compare_w0(value: int) -> int:
        return 0x7100001F | value << 10

    def branch(condition: int, words: int) -> int:
        return 0x54000000 | (words & 0x7FFFF) << 5 | condition

    equal, less, greater = 0x0, 0xB, 0xC
    block = [
        0xD10043FF,  # sub sp, sp, #16
        mov(9, _SIGNALS & 0xFFFF),
        0xF2A00000 | (_SIGNALS >> 16) << 5 | 9,  # movk x9, the upper half
        0xF90003E9,  # str x9, [sp]
        *(mov(0, 0), from_sp(1), mov(2, 0), mov(3, 8), mov(8, 135), svc),  # rt_sigprocmask
    ]
    wait = [*(from_sp(0), mov(1, 0), mov(2, 0), mov(3, 8), mov(8, 137), svc)]  # rt_sigtimedwait
    leave = [mov(0, 0), mov(8, 93), svc]  # exit
    reap = [0x92800000, *(mov(1, 0), mov(2, 1), mov(3, 0), mov(8, 260), svc)]  # wait4(-1, ...)
    wait += [compare_w0(_SIGCHLD), branch(equal, 3 + len(leave)), compare_w0(0), branch(less, -(len(wait) + 3))]
    reap += [compare_w0(0), branch(greater, -(len(reap) + 1))]
    reap += [0x14000000 | -(len(reap) + len(leave) + len(wait)) & 0x3FFFFFF]  # b wait
    return struct.pack(f"<{len(block + wait + leave + reap)}I", *block, *wait, *leave, *reap)


_MACHINES = {"amd64": (62, _X86_64), "arm64": (183, _aarch64())}


def executable(architecture: str) -> bytes:
    """The program as a static ELF file for `amd64` or `arm64`; KeyError for any other."""
    machine, code = _MACHINES[architecture]
    size = _HEADERS + len(code)
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return ident + header + segment + code
