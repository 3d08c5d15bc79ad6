#!/usr/bin/env bash
# Builds the GPU service's image, if it is not there yet, and deploys it by its digest.
source "$(dirname "$0")/../infra/gcp/lib.sh"
begin "$@" <<'HELP'
usage: gpu_service/deploy.sh [--dry-run] [--docker | --missing-image]
Builds the image of gpu_service/ with Cloud Build, pushes it, and deploys it to Cloud Run with one L4 an instance.
  --docker          builds with the Docker engine of this machine instead (needs some 60 GB of disk)
  --missing-image   only prints what would have to be built: IMAGE:TAG PROFILE, or nothing if nothing has to
  --dry-run         prints the commands that would change something
An image is named after what it is built from, so nothing is built twice; a service that stands as it should is left
alone. Settings (PROFILE, GPUS, GPU_VCPU, …) stand in bucketscribe.env. A first build takes about half an hour.
HELP

with_docker='' missing_image=''
for argument in ${ARGUMENTS[@]+"${ARGUMENTS[@]}"}; do
  case $argument in
  --docker) with_docker=1 ;;
  --missing-image) missing_image=1 ;;
  *) usage "it takes no $argument" ;;
  esac
done
if [[ -n $OCR_URL ]]; then
  [[ -n $missing_image ]] || say "Pages are read at OCR_URL=$OCR_URL: no GPU service of ours is made."
  exit 0
fi

HERE=$ROOT/gpu_service
[[ -f $HERE/profiles/$PROFILE.env ]] || die "there is no gpu_service/profiles/$PROFILE.env"

# look_up: sets DIGEST to that of the image with our tag, empty when the registry has none. By the list of tags, for
# which a reader's right is enough; `docker images describe` wants to see vulnerabilities too.
look_up() {
  DIGEST=
  if found artifacts tags list \
    --package="$GPU_SERVICE" \
    --repository="$REPOSITORY" \
    --location="$REGION" \
    --format="value[separator='|'](name.basename(),version.basename())"; then
    DIGEST=$(sed -n "s/^$tag|//p" <<<"$FOUND")
  fi
}

build() {
  if [[ -n $with_docker ]]; then
    change gcloud auth configure-docker "${IMAGE%%/*}" --quiet
    change "$HERE/build.sh" "$IMAGE:$tag" "$PROFILE"
  else
    # beta: without it nothing is printed for half an hour, because the log is in Cloud Logging alone.
    change cloud beta builds submit "$HERE" \
      --region="$BUILD_REGION" \
      --machine-type="$BUILD_MACHINE" \
      --config="$HERE/cloudbuild.yaml" \
      --service-account="projects/$PROJECT/serviceAccounts/$(account_email "$BUILD_ACCOUNT")" \
      --substitutions="_IMAGE=$IMAGE:$tag,_PROFILE=$PROFILE"
  fi
}

# The image is named after what it is made of.
inputs=()
for file in Dockerfile .dockerignore build.sh serve.sh "profiles/$PROFILE.env"; do
  inputs+=("$file $(sha256 <"$HERE/$file")")
done
tag=$PROFILE-$(fingerprint "${inputs[@]}" "$(fingerprint_of_folder "$HERE/compile-cache")" | cut -c 1-12)
look_up
if [[ -n $missing_image ]]; then
  [[ -n $DIGEST ]] || say "$IMAGE:$tag $PROFILE"
  exit 0
fi

step "Image of $PROFILE"
if [[ -z $DIGEST ]]; then
  build
  look_up
fi
if [[ -z $DIGEST ]]; then
  [[ -n $DRY_RUN ]] || die "$IMAGE:$tag was built but is not in the registry"
  DIGEST=sha256:known-after-build
fi
say "  $IMAGE@$DIGEST"

step "Service $GPU_SERVICE"
account "$GPU_ACCOUNT" "bucketscribe: the LightOnOCR service, which needs no rights"
settings=(
  --image="$IMAGE@$DIGEST"
  --service-account="$(account_email "$GPU_ACCOUNT")"
  --execution-environment=gen2
  --gpu=1
  --gpu-type=nvidia-l4
  # With zonal redundancy an L4 costs more, and its quota is another one.
  --no-gpu-zonal-redundancy
  --cpu="$GPU_VCPU"
  --memory="${GPU_MEMORY_GIB}Gi"
  # GPUs demand it: the instance is billed whole while it lives.
  --no-cpu-throttling
  --cpu-boost
  --concurrency="$GPU_CONCURRENCY"
  --min-instances=0
  --max-instances="$GPUS"
  --timeout="$GPU_TIMEOUT_SECONDS"
  --port=8000
  # Asked from the tenth second on, for ten minutes: an instance serves as soon as it can. Values over 240 are
  # refused (field, 2026-11), and one try at 240 s would let none serve earlier and fail at the first miss.
  --startup-probe="httpGet.path=/health,httpGet.port=8000,initialDelaySeconds=10,periodSeconds=5,timeoutSeconds=4,\
failureThreshold=120"
  # /health is 503 when the engine is dead: two minutes of that, and the instance is replaced.
  --liveness-probe="httpGet.path=/health,httpGet.port=8000,periodSeconds=30,timeoutSeconds=10,failureThreshold=4"
  --set-env-vars="MAX_NUM_SEQS=$MAX_NUM_SEQS,MAX_NUM_QUEUED_REQS=$MAX_NUM_QUEUED_REQS,\
VLLM_ENABLE_CUDA_COMPATIBILITY=$CUDA_COMPATIBILITY"
)
wanted=$(fingerprint "${settings[@]}")
standing=
if found run services describe "$GPU_SERVICE" --region="$REGION" --format="value[separator='|'](
    metadata.labels.$APPLIED_LABEL,
    status.latestCreatedRevisionName,
    status.latestReadyRevisionName)"; then
  IFS='|' read -r standing created ready <<<"$FOUND"
  # A revision that never became ready is deployed once more.
  [[ $created == "$ready" ]] || standing=
else
  # Only on a new one: on an existing service gcloud sets a policy for it, which the pipeline may not (528).
  settings+=(--no-allow-unauthenticated)
fi
if [[ -n $standing && $standing != "$wanted" ]]; then
  warn "a new revision starts beside the old one and needs a GPU of its own: with all $GPUS in use the quota must be \
$((GPUS + 1)), or it waits until one is free"
fi
if [[ $standing != "$wanted" ]]; then
  change cloud run deploy "$GPU_SERVICE" \
    --region="$REGION" \
    "${settings[@]}" \
    --update-labels="$APPLIED_LABEL=$wanted" \
    --format=none
else
  say "  as it should be"
fi
"$GCP/setup-lightonocr-sa.sh"

url=$(ocr_url)
cat <<END

The GPU service stands at
  $url
To see whether it is well, and how long it takes to start:
  gpu_service/smoke.sh $url
(your own account must be let in once: infra/gcp/setup-lightonocr-sa.sh user:YOU@EXAMPLE.COM)
For functions elsewhere that are to use this service, their bucketscribe.env needs the line
  OCR_URL=$url
END
