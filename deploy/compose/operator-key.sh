#!/bin/sh
# Makes the key that reads metrics, once; Prometheus finds it on the volume that both have.
set -eu
# Prometheus reads it as a member of the group.
umask 027

key=/var/lib/rankwire/operator.key
[ ! -s "$key" ] || exit 0
rankwire keys create --name prometheus --scope operator >"$key.new"
mv "$key.new" "$key"
