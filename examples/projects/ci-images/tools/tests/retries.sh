#!/bin/bash
set -euo pipefail

marker=$(mktemp -u)
ci-retry 3 sh -c "test -e $marker || { touch $marker; exit 1; }"

status=0
ci-retry 2 sh -c 'exit 7' || status=$?
[ "$status" = 7 ]
