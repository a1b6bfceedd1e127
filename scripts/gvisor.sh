#!/usr/bin/env bash
# Builds gVisor's runsc from the Go module proxy: gvisor.sh OUTPUT.
#
# Three things are mended on the way:
#   - setting a limit within the sandbox from outside (`runsc write-control`) dereferences
#     a file that is not there and takes the sandbox down;
#   - a system call that the OCI filter answers with ENOSYS, so that C libraries do without
#     it, is answered with EPERM, and no program of glibc's can start a thread;
#   - what a process has computed in user mode is left out of the list of processes.
# With any other runsc neither the limit of processes nor the filter is offered.
set -euo pipefail
out=$(realpath -m "$1")
version=v0.0.0-20260905035102-160fafc42237 # of the branch `go`; to be raised with the next line
release=20260905

cd "$(dirname "$0")/.."
module=$(cd /tmp && GOFLAGS=-mod=mod go mod download -json "gvisor.dev/gvisor@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
source=.cache/gvisor
rm -rf "$source"
mkdir -p .cache "$(dirname "$out")"
cp -r "$module" "$source"
chmod -R u+w "$source"

# mend FILE LINE REPLACEMENT: the line must be there once.
mend() {
	local file=$source/$1
	[ "$(grep -cFx "$2" "$file")" -eq 1 ] || { echo "gvisor.sh: $1 is not what it was: look for $2" >&2; exit 1; }
	awk -v line="$2" -v mended="$3" '$0 == line { print mended; next } { print }' "$file" >"$file.new"
	mv "$file.new" "$file"
}
line='	ifd, ok := fd.Impl().(*interfaceFD)'
mend pkg/sentry/fsimpl/cgroup2fs/cgroup.go "$line" '	if fd == nil { // a write from outside the sandbox\n\t\treturn nil\n\t}\n'"$line"
line='		action, err := convertAction(syscall.Action)'
mend runsc/specutils/seccomp/seccomp.go "$line" "$line"'\n\t\tif syscall.Action == specs.ActErrno && syscall.ErrnoRet != nil {\n\t\t\taction = seccomp.ReturnError.Code(uint16(*syscall.ErrnoRet))\n\t\t}'
line='	defaultAction, err := convertAction(s.DefaultAction)'
mend runsc/specutils/seccomp/seccomp.go "$line" "$line"'\n\tif s.DefaultAction == specs.ActErrno && s.DefaultErrnoRet != nil {\n\t\tdefaultAction = seccomp.ReturnError.Code(uint16(*s.DefaultErrnoRet))\n\t}'
mend pkg/sentry/control/proc.go '			Time:    tg.CPUStats().SysTime.String(),' '			Time:    (tg.CPUStats().UserTime + tg.CPUStats().SysTime).String(),'

cd "$source"
CGO_ENABLED=0 go build -ldflags "-s -w -X gvisor.dev/gvisor/runsc/version.version=$release-moyai2" -o "$out.new" ./runsc
mv "$out.new" "$out"
cd .. && rm -rf gvisor
