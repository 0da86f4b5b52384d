#!/bin/sh
# Installs what is missing of packages.txt: `deps.sh` what it takes to build and run, `deps.sh test` the tests' part too.
# Root is needed for apt alone, and only when something is missing; when nothing is, this is one dpkg-query.
set -eu

list=$(dirname "$0")/packages.txt
part=${1:-run}

stop() {
    printf 'deps: %s\n' "$@" >&2
    exit 1
}

# the lines wanted, without comments: one package or a|b a line
wanted() {
    if [ "$part" = test ]; then cat "$list"; else sed '/^# test/,$d' "$list"; fi | sed 's/[[:space:]]*#.*//; /^$/d'
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "deps: there is no apt-get here, so nothing can be looked up or installed for you; going on, and what the build does not" \
         "find is to be installed by your own package manager: what is in Debian $(wanted | cut -d'|' -f1 | tr '\n' ' ')" >&2
    exit 0
fi

installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p')
missing=$(wanted | awk -v installed="$installed" '
    BEGIN { count = split(installed, names, "\n"); for (i = 1; i <= count; i++) have[names[i]] = 1 }
    { count = split($0, any, "|"); for (i = 1; i <= count; i++) if (any[i] in have) next; print }')
if [ -z "$missing" ]; then
    echo "deps: all $(wanted | wc -l) packages are installed"
    exit 0
fi

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root="sudo"
else
    stop "these packages are missing, and installing them needs root (there is no sudo here): $(echo $missing)" \
         "become root and run: sh deploy/local/deps.sh $part"
fi

echo "deps: missing: $(echo $missing)"
echo "deps: ${as_root:+with sudo: }apt-get update"
$as_root apt-get -qq update || echo "deps: apt-get update did not work; going on with what apt knows" >&2

# of alternatives, the first this release has
packages=
for line in $missing; do
    found=
    for package in $(echo "$line" | tr '|' ' '); do
        # one that others name, and this release has not, is shown too; it has no candidate
        if LC_ALL=C apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [^(]'; then
            found=$package
            break
        fi
    done
    [ -n "$found" ] || stop "this release has no package $line" \
        "Debian 12 and 13 and Ubuntu 24.04 (with 'universe') have it: is it among the sources in /etc/apt, and can they be reached?"
    packages="$packages $found"
done

echo "deps: ${as_root:+with sudo: }apt-get install --no-install-recommends$packages"
case $packages in
*" postgresql"*) echo "deps: Debian will start a Postgres of its own on port 5432; Switchboard makes and uses another" ;;
esac
# set behind sudo, which would drop it
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends install $packages ||
    stop "apt-get could not install them (its own words stand above)" \
         "put that right and run make again; what is installed already is not installed twice"
echo "deps: done"
