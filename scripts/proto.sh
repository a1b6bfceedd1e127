#!/usr/bin/env bash
# Generates api/ from proto/, offline once the tools are installed.
#
#   scripts/proto.sh           lint, then regenerate api/
#   scripts/proto.sh --check   lint, regenerate beside, fail if api/ differs
#
# The tools are pinned here and land in .cache/bin; the imports come from the
# module cache, at the versions go.mod pins, so no registry is asked.
set -euo pipefail

buf_version=v1.75.0
gocosmos_version=v1.7.2
gateway_version=v1.16.0

root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/.cache/bin
mkdir -p "$bin"

# install NAME MODULE VERSION puts one pinned tool into .cache/bin.
install() {
  local name=$1 pkg=$2 version=$3
  if [[ -x $bin/$name ]] && go version -m "$bin/$name" | grep -Eq "^\s*mod\s.*\s${version//./\\.}(\s|$)"; then
    return
  fi
  echo "installing $name $version" >&2
  (cd / && GOBIN=$bin GOFLAGS=-mod=mod go install "$pkg@$version")
}

install buf github.com/bufbuild/buf/cmd/buf "$buf_version"
install protoc-gen-gocosmos github.com/cosmos/gogoproto/protoc-gen-gocosmos "$gocosmos_version"
install protoc-gen-grpc-gateway github.com/grpc-ecosystem/grpc-gateway/protoc-gen-grpc-gateway "$gateway_version"

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

cd "$root"
# take MODULE SUBFOLDER... copies .proto files of a module, keeping their import path.
take() {
  local module=$1 base=$2 dir
  shift 2
  dir=$(go list -m -f '{{.Dir}}' "$module")
  for sub in "$@"; do
    mkdir -p "$work/third_party/$sub"
    cp "$dir/$base/$sub/"*.proto "$work/third_party/$sub/"
  done
}
take github.com/cosmos/cosmos-sdk proto amino cosmos/msg/v1 cosmos/base/v1beta1 cosmos/base/query/v1beta1
take github.com/cosmos/gogoproto . gogoproto
take github.com/cosmos/cosmos-proto proto cosmos_proto
# grpc-gateway is a pruned dependency: its folder is in the cache once the plugin is installed.
gateway=$(go mod download -json "github.com/grpc-ecosystem/grpc-gateway@$gateway_version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
mkdir -p "$work/third_party/google/api"
cp "$gateway"/third_party/googleapis/google/api/{annotations,http}.proto "$work/third_party/google/api/"
chmod -R u+w "$work"

mkdir -p "$work/ours"
cp -r proto/moyai "$work/ours/"
cp proto/buf.yaml proto/buf.gen.yaml "$work/"

export PATH=$bin:$PATH
cd "$work"
buf format --diff --exit-code ours >&2 || { echo "proto files are not formatted: apply the diff above" >&2; exit 1; }
buf lint ours
buf generate --template buf.gen.yaml -o "$work/out" ours
gen=$work/out/github.com/moyai-network/moyai/api

if [[ ${1:-} == --check ]]; then
  if ! diff -r "$gen" "$root/api"; then
    echo "api/ is not what proto/ generates: run scripts/proto.sh and commit the result" >&2
    exit 1
  fi
  exit 0
fi
rm -rf "$root/api"
cp -r "$gen" "$root/api"
