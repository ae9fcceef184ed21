#!/bin/sh
# Makes cases for the autoscaling controller's arithmetic from the real controller's code:
#   replicas.sh FILE [-seed N] [-metrics N] [-combined N] [-normalized N] [-traces N]
# Needs Go and the module proxy; the sources are copied into a folder that is removed afterwards.
set -eu
file=$(realpath -m "$1")
shift
cd "$(dirname "$0")/.."
source=$(go list -mod=mod -m -f '{{.Dir}}' k8s.io/kubernetes)
KUBERNETES_VERSION=$(go list -mod=mod -m -f '{{.Version}}' k8s.io/kubernetes)
export KUBERNETES_VERSION
build=$(mktemp -d "$PWD/build-XXXXXX")
trap 'rm -rf "$build"' EXIT
for name in "$source"/pkg/controller/podautoscaler/*.go; do
    case $name in *_test.go) ;; *) install -m 644 "$name" "$build/" ;; esac
done
cp oracle/*_test.go "$build/"
go test -mod=mod -count=1 -run '^TestWriteCases$' "./$(basename "$build")" -args -cases "$file" "$@"
