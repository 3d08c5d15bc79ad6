#!/usr/bin/env bash
# The numbers of env.sh, for whoever reckons with them.
source "$(dirname "$0")/lib.sh"
help() {
  cat <<'HELP'
usage: infra/gcp/numbers.sh [GPUS]
Prints what is deployed for so many GPUs (or for those of bucketscribe.env) as NAME=value lines: sizes, limits and
times, and which objects are documents. Asks nothing of Google Cloud. `bucketscribe estimate` and the flow simulation reckon with these.
HELP
}

case ${1-} in
-h | --help)
  help
  exit 0
  ;;
esac
(($# < 2)) || usage "it takes one number of GPUs"

# Whatever stands in bucketscribe.env, if there is one, but for the number of GPUs that was named, and for the
# project: no number hangs on it.
settings=$SCRATCH/numbers.env
file=${ENV_FILE:-$ROOT/bucketscribe.env}
[[ ! -f $file ]] || sed "/^[[:space:]]*PROJECT=/d${1:+; /^[[:space:]]*GPUS=/d}" "$file" >"$settings"
printf '\nPROJECT=not-asked\n' >>"$settings"
[[ -z ${1-} ]] || say "GPUS=$1" >>"$settings"
ENV_FILE=$settings
# shellcheck source=infra/gcp/env.sh
source "$GCP/env.sh"

tell() {
  local name
  for name in "$@"; do say "$name=${!name}"; done
}

tell GPUS GPU_VCPU GPU_MEMORY_GIB GPU_CONCURRENCY MAX_NUM_SEQS MAX_NUM_QUEUED_REQS \
  PAGES_AT_GPU PAGES_WAITING PAGE_SECONDS BUCKETSCRIBE_CALL_RESERVE_SECONDS BUCKETSCRIBE_EXPRESS_PAGES \
  BUCKETSCRIBE_INCLUDE BUCKETSCRIBE_IGNORE BUCKETSCRIBE_DOCUMENT_MIB BUCKETSCRIBE_DOCUMENT_PAGES \
  BUCKETSCRIBE_IMAGE_PIXELS BUCKETSCRIBE_RENDER_SECONDS \
  ACK_DEADLINE_SECONDS MOST_PAGES_OUT DELIVERY_ATTEMPTS MINIMUM_BACKOFF_SECONDS MAXIMUM_BACKOFF_SECONDS
for door in "${DOORS[@]}"; do
  size_of "$door"
  for name in VCPU MEMORY_MIB CACHE_MIB CONCURRENCY INSTANCES TIMEOUT_SECONDS RENDER_WORKERS; do
    say "$door.$name=${!name}"
  done
done
