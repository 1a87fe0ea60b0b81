#!/bin/sh
# Waits for the server and creates the namespace; the worker registers its search attributes itself.
# Safe to run again. TEMPORAL_ADDRESS, NAMESPACE, RETENTION
set -eu

until temporal operator cluster health >/dev/null 2>&1; do
    tries=$((${tries:-0} + 1))
    if [ "$tries" -ge 30 ]; then
        echo "Temporal at $TEMPORAL_ADDRESS did not become healthy" >&2
        exit 1
    fi
    sleep 2
done
temporal operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$NAMESPACE" --retention "${RETENTION:-30d}"
echo "namespace $NAMESPACE is there"
