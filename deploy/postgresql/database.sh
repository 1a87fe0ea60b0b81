#!/bin/sh
# Makes the role and the database `qsaga` on a PostgreSQL server, whose data may be older than they
# are. Safe to run again: the password is then set to what it is now.
# PGHOST, PGUSER, PGPASSWORD, PGDATABASE of an administrator; ROLE_PASSWORD
set -eu

# From the environment and not as an argument, which others on the machine could read.
psql --no-psqlrc --quiet --tuples-only --set ON_ERROR_STOP=1 <<'SQL'
\getenv password ROLE_PASSWORD
-- Two at once would both find nothing there; the lock ends with the connection.
SELECT pg_advisory_lock(1903386983) \g /dev/null
SELECT 'CREATE ROLE qsaga' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'qsaga') \gexec
ALTER ROLE qsaga LOGIN PASSWORD :'password';
SELECT 'CREATE DATABASE qsaga OWNER qsaga'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'qsaga') \gexec
REVOKE ALL ON DATABASE qsaga FROM PUBLIC;
SQL
echo "database qsaga is there"
