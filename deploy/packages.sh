#!/bin/sh
# Installs the Debian packages that Mizzen's cluster, lab and tests need, those alone that are missing.
#   deploy/packages.sh python   Python and its venv module
#   deploy/packages.sh run      what a one-node cluster needs
#   deploy/packages.sh test     what the tests and the lab need besides
# Nothing is started: packages of services usually start them, a policy file keeps them from it while we install.
set -eu

python="python3:python3 python3-venv:-"
run="etcd:etcd-server dockerd:docker.io docker:docker.io nft:nftables ip:iproute2 iptables:iptables conntrack:conntrack
     busybox:busybox-static kubectl:kubernetes-client"
tests="haproxy:haproxy tini:tini nsenter:util-linux sysctl:procps mkfs.ext4:e2fsprogs awk:mawk git:git"

case ${1:-} in
python) wanted=$python ;;
run) wanted="$python $run" ;;
test) wanted="$python $run $tests" ;;
*)
    echo "usage: $0 python|run|test" >&2
    exit 2
    ;;
esac

PATH=$PATH:/usr/sbin:/sbin
missing=
for pair in $wanted; do
    program=${pair%%:*} package=${pair#*:}
    case $program in
    python3-venv)
        # Not a program: a Python without it cannot fill a new environment with pip.
        "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
        ;;
    *) command -v "$program" >/dev/null 2>&1 || missing="$missing $package" ;;
    esac
done
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
[ -n "${missing% }" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Mizzen: please install what gives: $missing(apt-get is not there to do it)" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "Mizzen: missing packages. As root:  apt-get install $missing" >&2
    exit 1
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
log=$(mktemp)
echo "installing $missing..."
install() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends $missing >"$log" 2>&1; }
# The index may be absent or old; fetch it only when needed, it takes longer than the packages.
if ! install && ! { apt-get update >"$log" 2>&1 && install; }; then
    echo "Mizzen: apt-get could not install $missing- is this machine online? It said:" >&2
    tail -n 15 "$log" >&2
    exit 1
fi
rm -f "$log"
