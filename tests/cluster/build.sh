#!/usr/bin/env bash
# Builds the etcd, kube-apiserver and kubectl that tests run, from the modules pinned here, into the user's cache folder: once per pin.
# With --folder it only says where they are.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

pin=$(cat "$here"/build.sh "$here"/*/go.mod "$here"/*/go.sum | sha256sum | cut -c 1-16)
folder="${XDG_CACHE_HOME:-$HOME/.cache}/posthouse/cluster/$pin"
if [ "${1:-}" = --folder ]; then
    printf '%s\n' "$folder"
    exit
fi
[ ! -x "$folder/kubectl" ] || exit 0

command -v go >/dev/null 2>&1 || {
    printf 'setup: please install Go 1.25 or newer: the tests of the API build a kube-apiserver with it\n' >&2
    exit 2
}
# Without this, version checks between the programs fail.
version=v1.34.4
set_version="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"
mkdir -p "$folder"
work=$(mktemp -d "$folder/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0 GOFLAGS=-mod=readonly
(cd "$here/etcd" && go build -buildvcs=false -trimpath -o "$work/etcd" go.etcd.io/etcd/server/v3)
(cd "$here/kubernetes" && go build -buildvcs=false -trimpath -ldflags "$set_version" -o "$work/" \
    k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl)
# By rename, so that two builds at once leave whole files; kubectl last, for it says that all are there.
for program in etcd kube-apiserver kubectl; do mv "$work/$program" "$folder/$program"; done
printf 'setup: built etcd, kube-apiserver and kubectl under %s\n' "$folder"
