#!/usr/bin/env bash
# The pipeline of cloudbuild.yaml: its trigger, and the account that it runs as.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/build_trigger.sh [--dry-run]
Has Cloud Build run cloudbuild.yaml on every push to GITHUB_BRANCH of GITHUB_OWNER/GITHUB_REPOSITORY, as an account of its
own. Before: run up.sh once, connect the repository to Cloud Build in the console (Cloud Build, Triggers, Connect
repository, region BUILD_REGION), and commit this file of settings, which holds no secrets: the pipeline reads it.
HELP
no_arguments
[[ -n $GITHUB_OWNER && -n $GITHUB_REPOSITORY ]] || die "set GITHUB_OWNER and GITHUB_REPOSITORY in $ENV_FILE"

email=$(account_email "$DEPLOY_ACCOUNT")
member=serviceAccount:$email

step "The pipeline's account"
account "$DEPLOY_ACCOUNT" "bucketscribe: the pipeline runs as this"
grant roles/logging.logWriter "$member" projects "$PROJECT"
grant roles/run.developer "$member" projects "$PROJECT"
grant roles/cloudfunctions.developer "$member" projects "$PROJECT"
grant roles/artifactregistry.writer "$member" "artifacts repositories" "$REPOSITORY" --location="$REGION"
# To deploy a thing that runs as an account, or is built as one, is to act as it.
for name in "$ON_UPLOAD_ACCOUNT" "$ON_PAGE_TASK_ACCOUNT" "$ON_DEAD_LETTER_ACCOUNT" "$SWEEP_ACCOUNT" \
  "$TRIGGER_ACCOUNT" "$GPU_ACCOUNT" "$BUILD_ACCOUNT"; do
  if [[ $name != "$GPU_ACCOUNT" || -z $OCR_URL ]]; then
    grant roles/iam.serviceAccountUser "$member" "iam service-accounts" "$(account_email "$name")"
  fi
done
# Cloud Build's metadata server gives no identity tokens, so the smoke test asks for one as itself (field, 2022-11).
grant roles/iam.serviceAccountTokenCreator "$member" "iam service-accounts" "$email"
for name in "$EXPRESS_SUBSCRIPTION" "$BULK_SUBSCRIPTION" "$DEAD_SUBSCRIPTION"; do
  grant roles/pubsub.viewer "$member" "pubsub subscriptions" "$name"
done
[[ -n $OCR_URL ]] || "$GCP/setup-lightonocr-sa.sh" "$member"

step "Trigger"
file=$(basename "$ENV_FILE")
settings=(
  --region="$BUILD_REGION"
  --repo-owner="$GITHUB_OWNER"
  --repo-name="$GITHUB_REPOSITORY"
  --branch-pattern="^$GITHUB_BRANCH\$"
  --build-config=cloudbuild.yaml
  --service-account="projects/$PROJECT/serviceAccounts/$email"
)
wanted="^$GITHUB_BRANCH\$|cloudbuild.yaml|projects/$PROJECT/serviceAccounts/$email|$GITHUB_OWNER|$GITHUB_REPOSITORY|$file"
if ! found builds triggers describe "$BUILD_TRIGGER" --region="$BUILD_REGION" --format="value[separator='|'](
    github.push.branch,
    filename,
    serviceAccount,
    github.owner,
    github.name,
    substitutions._ENV_FILE)"; then
  change cloud builds triggers create github \
    --name="$BUILD_TRIGGER" \
    --include-logs-with-status \
    "${settings[@]}" \
    --substitutions="_ENV_FILE=$file"
elif [[ $FOUND != "$wanted" ]]; then
  change cloud builds triggers update github "$BUILD_TRIGGER" \
    "${settings[@]}" \
    --update-substitutions="_ENV_FILE=$file"
fi
