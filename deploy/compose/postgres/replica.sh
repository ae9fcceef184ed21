#!/bin/sh
# Becomes a streaming replica of the server `postgres`: copies it at the first start, follows it at
# every one. Takes the command of the server; the password is read anew each time and never stored.
set -eu

umask 077
passwords=/tmp/replica.pgpass
echo "postgres:5432:*:replica:$(cat /run/secrets/replica-password)" >"$passwords"
primary="host=postgres port=5432 user=replica passfile=$passwords"

if [ ! -d "$PGDATA" ]; then
	# What an earlier start did not finish is of no use; only a whole copy gets the name.
	rm -rf "$PGDATA.new"
	pg_basebackup --dbname="$primary" --pgdata="$PGDATA.new" --slot=replica --wal-method=stream \
		--checkpoint=fast
	touch "$PGDATA.new/standby.signal"
	mv "$PGDATA.new" "$PGDATA"
fi

exec "$@" -c primary_conninfo="$primary application_name=replica" -c primary_slot_name=replica \
	-c hot_standby_feedback=on -c shared_preload_libraries=pg_stat_statements
