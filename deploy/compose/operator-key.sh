#!/bin/sh
# Makes the key that reads metrics, once; Prometheus finds it on the volume that both have.
set -eu

key=/var/lib/rankwire/operator.key
[ ! -s "$key" ] || exit 0
# For its group, which Prometheus is in, and for nobody else.
umask 027
rankwire keys create --name prometheus --scope operator >"$key.new"
mv "$key.new" "$key"
