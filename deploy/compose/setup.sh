#!/bin/sh
# Makes what compose.yaml keeps secret, below ./secrets; what is there already stays as it is.
#
# The files can be read by every user, because containers have users of their own. The directory
# keeps other users of this machine out.
set -eu
cd "$(dirname "$0")"

umask 022
mkdir -p secrets
chmod 0700 secrets
cd secrets

keep() { # NAME: makes it of what comes in, whole or not at all
	cat >"$1.new"
	if [ -s "$1" ]; then rm "$1.new"; else mv "$1.new" "$1"; fi
}
password() { od -An -vtx1 -N24 /dev/urandom | tr -d ' \n'; }

for name in postgres rankwire replica grafana redis; do
	password | keep "$name-password"
done

echo "requirepass $(cat redis-password)" | keep redis.conf

keep rankwire.toml <<TOML
[http]
host = "0.0.0.0"

[live]
host = "0.0.0.0"

[auth]
mode = "keys"

[storage]
url = "postgresql://rankwire:$(cat rankwire-password)@postgres/rankwire"
replica_url = "postgresql://rankwire:$(cat rankwire-password)@replica/rankwire"

[redis]
url = "redis://:$(cat redis-password)@redis:6379/0"

[log]
format = "json"
TOML
