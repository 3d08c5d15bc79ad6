#!/usr/bin/env bash
# The one way an image is built: by deploy.sh --docker, by gpu_service/cloudbuild.yaml and by the pipeline.
set -Eeuo pipefail

if (($# != 3)); then
  cat >&2 <<'HELP'
usage: gpu_service/build.sh IMAGE:TAG PROFILE TARGET
Builds the GPU service's image with Docker and pushes it. TARGET is a stage of the Dockerfile: serve or compiled.
gpu_service/deploy.sh calls this with the right names.
HELP
  exit 2
fi

DOCKER_BUILDKIT=1 docker build \
  --platform=linux/amd64 \
  --build-arg="PROFILE=$2" \
  --target="$3" \
  --tag="$1" \
  "$(dirname "$0")"
docker push "$1"
