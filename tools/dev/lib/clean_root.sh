#!/usr/bin/env bash
# Proves ./dev quickstart and ./dev check --quick in a fresh Debian root.
#
# debootstrap makes the root from the mirrors this machine's apt is configured for, proxy included; the result is kept as
# build/clean-root/base.tar.gz. Each command runs by chroot in mount and pid namespaces of its own, so that
# mounts and daemons are gone when it ends, however it ends. What is tested is a clone of HEAD: what is not committed is not
# there. Needs root. After a failure the root stays for a look; the next run replaces it.
set -euo pipefail
# shellcheck source=tools/dev/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

PLACE=$DEV_ROOT/build/clean-root
ROOT=$PLACE/root
BASE=$PLACE/base.tar.gz
# Inside the new root.
TREE=/usr/src/nacre

# Prints "URI" of the configured repository that holds this release's main component.
mirror_find() {
	local codename=$1
	# shellcheck disable=SC2016 # the $() are apt's own
	apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Identifier: Packages' |
		awk -v codename="$codename" '$2 == codename && $3 == "main" { print $1; exit }'
}

# debootstrap fetches with wget, which knows nothing of apt's proxies.
proxy_export() {
	local APT_HTTP_PROXY='' APT_HTTPS_PROXY=''
	eval "$(apt-config shell APT_HTTP_PROXY Acquire::http::Proxy APT_HTTPS_PROXY Acquire::https::Proxy)"
	if [ -n "$APT_HTTP_PROXY" ]; then
		export http_proxy=$APT_HTTP_PROXY
	fi
	if [ -n "$APT_HTTPS_PROXY" ]; then
		export https_proxy=$APT_HTTPS_PROXY
	fi
}

base_make() {
	local codename mirror
	if [ -f "$BASE" ] && [ -z "$(find "$BASE" -mtime +7)" ]; then
		return 0
	fi
	codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
	mirror=$(mirror_find "$codename")
	[ -n "$mirror" ] || die "clean-root: apt on this machine has no source of $codename main"
	echo "clean-root: debootstrap $codename"
	root_remove
	mkdir -p "$PLACE"
	debootstrap --variant=minbase --include=ca-certificates "$codename" "$ROOT" "$mirror" >"$PLACE/debootstrap.log" 2>&1 ||
		die "clean-root: debootstrap failed; see build/clean-root/debootstrap.log"
	rm -f "$ROOT"/var/cache/apt/archives/*.deb
	tar -C "$ROOT" --numeric-owner -cf - . | gzip -1 >"$BASE.new"
	mv "$BASE.new" "$BASE"
}

root_remove() {
	if [ -d "$ROOT" ]; then
		rm -rf --one-file-system "$ROOT"
	fi
}

# The new root reaches the network as this machine does: names, mirrors, proxies, certificates.
root_configure() {
	local file
	for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
		if [ -f "$file" ]; then
			cp -L "$file" "$ROOT$file"
		fi
	done
	rm -f "$ROOT/etc/apt/sources.list"
	cp -aL /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/trusted.gpg.d "$ROOT/etc/apt/" 2>/dev/null || true
	mkdir -p "$ROOT/etc/apt/keyrings" "$ROOT/usr/share/keyrings"
	cp -aL /etc/apt/keyrings/. "$ROOT/etc/apt/keyrings/" 2>/dev/null || true
	cp -aL /usr/share/keyrings/. "$ROOT/usr/share/keyrings/"
	apt-config dump | grep -E '^Acquire::(https?|Retries|Check-)' >"$ROOT/etc/apt/apt.conf.d/99host" || true
}

root_make() {
	root_remove
	mkdir -p "$ROOT"
	tar -C "$ROOT" --numeric-owner -xzf "$BASE"
	root_configure
	git -c safe.directory='*' clone -q --no-hardlinks "$DEV_ROOT" "$ROOT$TREE"
	git -C "$ROOT$TREE" remote remove origin
}

# Runs one command line in the root. The inner bash is process 1 of its pid namespace: when it ends, the kernel
# ends everything else in it and unmounts what was mounted. The root is a mount of its own, because unshare(1) inside it
# asks "/" to be one.
root_run() {
	echo "clean-root: $1"
	# shellcheck disable=SC2016 # the inner bash expands them
	unshare --mount --pid --fork --kill-child bash -euo pipefail -c '
		mount --bind "$1" "$1"
		mount -t proc proc "$1/proc"
		mount --rbind /sys "$1/sys"
		mount -t tmpfs tmpfs "$1/run"
		mount -t tmpfs tmpfs "$1/dev/shm"
		mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts"
		if [ -e /dev/fuse ]; then
			touch "$1/dev/fuse"
			mount --bind /dev/fuse "$1/dev/fuse"
		fi
		if chroot "$1" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" NACRE_SEED="${NACRE_SEED:-}" \
			/bin/bash -c "cd $2 && $3"; then
			exit 0
		fi
		exit 1
	' bash "$ROOT" "$TREE" "$1" </dev/null
}

# Runs a step that counts as one case, and ends everything when it fails.
root_case() {
	if root_run "$1"; then
		return 0
	fi
	echo "clean-root: failed: $1 (the root is in build/clean-root/root)"
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
}

main() {
	if [ "$(id -u)" != 0 ]; then
		echo "dev: check --clean-root needs root: debootstrap, chroot, mounts" >&2
		return "$EX_SKIP"
	fi
	[ $# -eq 0 ] || usage_error "check: --clean-root takes no other options"
	git -c safe.directory='*' rev-parse -q --verify HEAD >/dev/null || die "clean-root: there is no commit to prove"
	proxy_export
	base_make
	root_make
	# As a newcomer does: start, look, stop, and again with the data there.
	root_case './dev quickstart && build/bin/nacre down build/quickstart && ./dev quickstart && build/bin/nacre down build/quickstart'
	root_run './dev check --quick' || return 1
	root_remove
}

main "$@"
