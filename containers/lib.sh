# Shared by containers/up and containers/test. Source it; it does nothing by itself.
# Works with bash 3.2, which macOS still ships.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
assume_yes=${assume_yes:-no}

say() { printf '%s: %s\n' "${0##*/}" "$*"; }

die() { # die STATUS LINE…: the reason, then what to do about it
    local status=$1
    shift
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    shift
    if [ $# -gt 0 ]; then printf '    %s\n' "$@" >&2; fi
    exit "$status"
}

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

ask() { # ask QUESTION: yes, or the end
    local answer
    if [ "$assume_yes" = yes ]; then return; fi
    if ! [ -t 0 ]; then
        die 3 "$1" "There is no terminal to ask on. Say --yes to agree."
    fi
    read -r -p "$1 [y/N] " answer
    case $answer in
        y | Y | yes | Yes) ;;
        *) die 3 "Nothing was changed." ;;
    esac
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# --- Debian packages ---------------------------------------------------------

packages() { # packages KIND…: their names, from containers/packages.txt
    local kind
    for kind; do
        awk -v kind="$kind" '$1 == kind { print $2 }' "$root/containers/packages.txt"
    done
}

missing_packages() { # missing_packages KIND…
    local name installed
    # A name may live on as another package's "Provides": libpcap0.8 is libpcap0.8t64 since Ubuntu 24.04.
    installed=$(dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}, ${Provides}\n' |
        sed -n -e 's/ ([^)]*)//g' -e 's/^.i *//p' | tr -s ', ' '\n')
    for name in $(packages "$@"); do
        if [ "$name" = chromium ] && { browser >/dev/null || grep -q '^ID=ubuntu$' /etc/os-release; }; then
            continue # Ubuntu has it as a snap only, which sees no /tmp; containers/test then takes Playwright's
        fi
        if ! grep --quiet --line-regexp --fixed-strings -e "$name" <<<"$installed"; then echo "$name"; fi
    done
}

browser() { # the first browser of Chromium's kind
    local name
    for name in chromium google-chrome google-chrome-stable; do
        if command -v "$name"; then return; fi
    done
    return 1
}

missing_commands() { # what a lab runs, for systems without dpkg
    local name
    for name in conntrack curl dot ip iptables nft ping ps traceroute; do
        if ! command -v "$name" >/dev/null && ! [ -x "/usr/sbin/$name" ]; then echo "$name"; fi
    done
}

enabled_services() { # those that systemd starts with the machine, sorted; none where there is no systemd
    if command -v systemctl >/dev/null; then
        { systemctl list-unit-files --type=service --state=enabled --plain --no-legend 2>/dev/null || true; } |
            cut -d ' ' -f 1 | LC_ALL=C sort
    fi
}

install_packages() { # install_packages KIND…: those that are missing, after asking
    local missing policy=/usr/sbin/policy-rc.d
    if ! command -v dpkg-query >/dev/null; then
        missing=$(missing_commands | tr '\n' ' ')
        if [ -z "$missing" ]; then return; fi
        die 3 "These commands are missing: $missing" \
            "This is not Debian or Ubuntu: please install them, or start an engine (Docker or Podman)."
    fi
    missing=$(missing_packages "$@" | tr '\n' ' ')
    if [ -z "$missing" ]; then return; fi
    say "missing Debian packages: $missing"
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            die 3 "There is no sudo here. As root, run:" "apt-get install --no-install-recommends $missing"
        fi
        ask "Install them now with sudo apt-get?"
    else
        ask "Install them now with apt-get?"
    fi
    # nginx and BIRD are tools here. Without this they would also be started as services of the machine, now and whenever
    # the machine starts.
    local status=0 enabled
    enabled=$(enabled_services)
    if ! [ -e "$policy" ]; then
        trap 'as_root rm -f -- /usr/sbin/policy-rc.d' EXIT # also after Ctrl-C
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    # shellcheck disable=SC2086 # one argument for each package
    {
        as_root apt-get update --quiet --quiet &&
            as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get install --yes --quiet --quiet --no-install-recommends $missing >/dev/null
    } || status=$?
    if [ "$(trap -p EXIT)" ]; then as_root rm -f -- "$policy" && trap - EXIT; fi
    enabled=$(LC_ALL=C comm -13 <(printf '%s\n' "$enabled") <(enabled_services))
    # shellcheck disable=SC2086 # one argument for each service
    if [ -n "$enabled" ]; then as_root systemctl --quiet disable $enabled; fi
    if [ "$status" != 0 ]; then die 3 "apt-get failed (status $status). Its own words are above."; fi
}

# --- the virtual environment -------------------------------------------------

find_python() { # the system's Python: a user's own (pyenv, conda) may not be readable for others
    local candidate
    for candidate in ${NETLAB_PYTHON:-/usr/bin/python3 /usr/bin/python3.1[1-9] /usr/local/bin/python3}; do
        if [ -x "$candidate" ] &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

lock_part() { # lock_part run|all: the lock, or its first half
    if [ "$1" = all ]; then
        cat "$root/containers/lock.txt"
    else
        sed '/^# --- only for the tests/,$d' "$root/containers/lock.txt"
    fi
}

venv_is_current() { # venv_is_current PART KEY: what has the tests' half has the other one too
    local stamp
    stamp=$(cat "$venv/netlab-stamp" 2>/dev/null) || return 1
    [ -x "$venv/bin/python" ] && { [ "$stamp" = "$1 $2" ] || [ "$stamp" = "all $2" ]; }
}

make_venv() { # make_venv run|all: sets $venv; does nothing where the lock is installed already
    local part=$1 python key
    python=$(find_python) || die 3 "No Python 3.11 or newer in ${NETLAB_PYTHON:-/usr/bin}." \
        "Debian 12 and Ubuntu 24.04 have one: apt-get install python3 python3-venv"
    key=$(
        cat "$root/containers/lock.txt" "$root/pyproject.toml" | sha256
        echo "$root"
        "$python" -V
    )
    for venv in "${NETLAB_VENV:-$root/.venv}" "${XDG_CACHE_HOME:-$HOME/.cache}/netlab/venv"; do
        if venv_is_current "$part" "$key"; then return; fi
        # Another user's, or in another user's checkout: then one of our own.
        if [ -w "$venv" ] || { ! [ -e "$venv" ] && [ -w "$(dirname "$venv")" ]; }; then break; fi
    done
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        die 3 "$python has no venv module." "On Debian and Ubuntu: apt-get install python3-venv"
    fi
    say "making the virtual environment in $venv (about a minute, once)"
    if [ -e "$venv" ] && ! [ -e "$venv/pyvenv.cfg" ]; then
        die 3 "$venv is there, but it is not a virtual environment." "Move it away, or set NETLAB_VENV."
    fi
    "$python" -m venv --clear "$venv"
    lock_part "$part" >"$venv/lock.txt"
    "$venv/bin/pip" install --quiet --quiet --disable-pip-version-check --no-deps --require-hashes --requirement "$venv/lock.txt" ||
        die 3 "pip could not install the packages of containers/lock.txt. Its own words are above."
    "$venv/bin/pip" install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable "$root" ||
        die 3 "pip could not install netlab itself. Its own words are above."
    # A kernel's notes to its makers would fall into the learner's terminal.
    install -D --mode 644 "$root/containers/jupyter/ipython_kernel_config.json" "$venv/etc/ipython/ipython_kernel_config.json"
    printf '%s %s\n' "$part" "$key" >"$venv/netlab-stamp"
}

# --- namespaces --------------------------------------------------------------

need_namespaces() { # need_namespaces PREFIX…: a lab is made of them. Says what forbids them, and how to allow them
    local probe=(unshare --user --map-root-user --net --mount --pid --fork --mount-proc true)
    if "$@" "${probe[@]}" 2>/dev/null; then return; fi
    local name=kernel.apparmor_restrict_unprivileged_userns
    if [ "$(sysctl -n $name 2>/dev/null)" = 1 ]; then
        die 4 "This system (AppArmor) forbids ordinary users to make namespaces." \
            "Allow it until the next start:  sudo sysctl -w $name=0" \
            "Allow it for good:              echo $name=0 | sudo tee /etc/sysctl.d/60-netlab.conf"
    fi
    name=kernel.unprivileged_userns_clone
    if [ "$(sysctl -n $name 2>/dev/null)" = 0 ]; then
        die 4 "This kernel forbids ordinary users to make namespaces." \
            "Allow it until the next start:  sudo sysctl -w $name=1"
    fi
    if [ "$(sysctl -n user.max_user_namespaces 2>/dev/null)" = 0 ]; then
        die 4 "The limit of user namespaces is 0." \
            "Allow them until the next start:  sudo sysctl -w user.max_user_namespaces=10000"
    fi
    die 4 "Namespaces cannot be made here. The system says:" \
        "$("$@" "${probe[@]}" 2>&1 || true)" \
        "In a container, start it as README.md shows, with netlab's seccomp profile."
}

# --- ports -------------------------------------------------------------------

port_busy() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() { # free_port FROM: the first one on which nobody listens
    local port=$1
    while port_busy "$port"; do port=$((port + 1)); done
    echo "$port"
}
