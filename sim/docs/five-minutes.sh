#!/bin/sh
# From an Envoy file to a reproduced 503, with the time of each step. In a clone of this repository:
#   sim/docs/five-minutes.sh envoy.yaml [more Envoy files, in the order in which a request meets them]
# The file's app closes idle connections after 5 s, and a POST crosses its FIN.
set -eu
step() { printf '\n%s  %s\n' "$(date +%T)" "$1"; }

step "build"
cargo build -q -p finwait-sim
sim=${CARGO_TARGET_DIR:-target}/debug/finwait-sim

step "a scenario from the Envoy files"
"$sim" new --leave-out anything --force --output five-minutes.yaml "$@" > /dev/null

step "the lines of the scenario's comments that make app and proxy race"
sed -e 's/^# links:/links:/' -e 's/# idle_timeout: 5s/idle_timeout: 5s/' -e 's/# - wait: 4990ms/- wait: 4990ms/' \
    -e '/- wait: 4990ms/,/POST/s/# - \(.*: POST\)/- \1/' five-minutes.yaml > five-minutes.race.yaml

step "the run: what the clients saw, why, and what would change it"
"$sim" run five-minutes.race.yaml | sed -n '/WHAT THE CLIENTS SAW/,/WHAT THE PROXIES LOGGED/p'

step "done: change five-minutes.race.yaml, and play it with finwait-sim run"
