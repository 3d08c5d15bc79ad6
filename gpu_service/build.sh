#!/usr/bin/env bash
# The one way an image is built: by deploy.sh --docker, by gpu_service/cloudbuild.yaml and by the pipeline.
set -Eeuo pipefail

if (($# != 2)); then
  cat >&2 <<'HELP'
usage: gpu_service/build.sh IMAGE:TAG PROFILE
Builds the GPU service's image with Docker and pushes it. PROFILE is a file of gpu_service/profiles.
gpu_service/deploy.sh calls this with the right names.
HELP
  exit 2
fi

[[ $1 == *-docker.pkg.dev/* ]] || {
  echo "build.sh: $1 is no image in Artifact Registry" >&2
  exit 2
}
docker build \
  --platform=linux/amd64 \
  --build-arg="PROFILE=$2" \
  --tag="$1" \
  "$(dirname "$0")"
docker push "$1"
