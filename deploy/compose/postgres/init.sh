#!/bin/sh
# Runs once, in the empty PostgreSQL of compose.yaml: the nodes' database, and who may stream it.
# Passwords come from files and stand in no list of processes.
set -eu

psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\set rankwire `cat /run/secrets/rankwire-password`
\set replica `cat /run/secrets/replica-password`
CREATE ROLE rankwire LOGIN PASSWORD :'rankwire';
CREATE ROLE replica LOGIN REPLICATION PASSWORD :'replica';
-- To see how PostgreSQL does, for the analyzer's reports.
GRANT pg_monitor TO rankwire;
CREATE DATABASE rankwire OWNER rankwire TEMPLATE template0 ENCODING 'UTF8';
SELECT pg_create_physical_replication_slot('replica') \g /dev/null
\connect rankwire
CREATE EXTENSION pg_stat_statements;
SQL

echo 'host replication replica samenet scram-sha-256' >>"$PGDATA/pg_hba.conf"
