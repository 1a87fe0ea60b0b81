#!/bin/sh
# Creates Temporal's two databases, or brings them to this server's schema. Safe to run again.
set -eu

for name in temporal visibility; do
    case "$name" in
        temporal) database=temporal ;;
        visibility) database=temporal_visibility ;;
    esac
    tool="temporal-sql-tool --plugin $DB --ep $POSTGRES_SEEDS -p $DB_PORT -u $POSTGRES_USER --db $database"
    $tool create
    $tool setup-schema -v 0.0
    $tool update-schema -d "/etc/temporal/schema/postgresql/v12/$name/versioned"
done
