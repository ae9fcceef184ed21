#!/bin/sh
# Builds etcd, kube-apiserver, kube-controller-manager and the metrics client into FOLDER, from
# their published modules. Needs Go and the module proxy; takes several minutes the first time.
#   build.sh FOLDER
set -eu
mkdir -p "$1"
folder=$(realpath "$1")
cd "$(dirname "$0")"
version=$(go list -mod=mod -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.}
package=k8s.io/component-base/version
stamp="-X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
export CGO_ENABLED=0
go build -mod=mod -trimpath -o "$folder/metrics-client" ./client
go build -mod=mod -trimpath -ldflags "-s -w $stamp" -o "$folder/" \
    k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager
go build -mod=mod -trimpath -o "$folder/etcd" go.etcd.io/etcd/server/v3
