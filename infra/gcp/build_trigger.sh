#!/usr/bin/env bash
# The pipeline of cloudbuild.yaml: its trigger on main, and what its account may do beyond building.
source "$(dirname "$0")/lib.sh"
begin "$@" <<'HELP'
usage: infra/gcp/build_trigger.sh [--dry-run]
Has Cloud Build run cloudbuild.yaml on every push to main of GITHUB_OWNER/GITHUB_REPOSITORY, as its own account. Before:
run up.sh once, connect the repository to Cloud Build in the console (Cloud Build, Triggers, Connect repository, in
REGION), and commit bucketscribe.env, which holds no secrets.
HELP
no_arguments
[[ -n $GITHUB_OWNER && -n $GITHUB_REPOSITORY ]] || die "set GITHUB_OWNER and GITHUB_REPOSITORY in $ENV_FILE"

email=$(account_email "$BUILD_ACCOUNT")
member=serviceAccount:$email

step "What the build account may do"
account "$BUILD_ACCOUNT" "bucketscribe: builds run as this"
grant roles/run.developer "$member" projects "$PROJECT"
grant roles/cloudfunctions.developer "$member" projects "$PROJECT"
# To deploy a thing that runs as an account is to act as it.
for name in "$ON_UPLOAD_ACCOUNT" "$ON_PAGE_TASK_ACCOUNT" "$ON_DEAD_LETTER_ACCOUNT" "$SWEEP_ACCOUNT" \
  "$TRIGGER_ACCOUNT" "$GPU_ACCOUNT" "$BUILD_ACCOUNT"; do
  grant roles/iam.serviceAccountUser "$member" "iam service-accounts" "$(account_email "$name")"
done
# Cloud Build's metadata server gives no identity tokens, so the smoke test asks for one as itself (field, 2022-11).
grant roles/iam.serviceAccountTokenCreator "$member" "iam service-accounts" "$email"
for name in "$EXPRESS_SUBSCRIPTION" "$BULK_SUBSCRIPTION" "$DEAD_SUBSCRIPTION"; do
  grant roles/pubsub.viewer "$member" "pubsub subscriptions" "$name"
done
[[ -n $OCR_URL ]] || "$GCP/setup-lightonocr-sa.sh" "$member"

step "Trigger"
settings=(
  --region="$REGION"
  --branch-pattern='^main$'
  --build-config=cloudbuild.yaml
  --service-account="projects/$PROJECT/serviceAccounts/$email"
)
wanted="^main\$|cloudbuild.yaml|projects/$PROJECT/serviceAccounts/$email|$GITHUB_OWNER|$GITHUB_REPOSITORY"
if ! found builds triggers describe "$BUILD_TRIGGER" --region="$REGION" --format="value[separator='|'](
    github.push.branch,
    filename,
    serviceAccount,
    github.owner,
    github.name)"; then
  change cloud builds triggers create github \
    --name="$BUILD_TRIGGER" \
    --repo-owner="$GITHUB_OWNER" \
    --repo-name="$GITHUB_REPOSITORY" \
    --include-logs-with-status \
    "${settings[@]}"
elif [[ $FOUND != "$wanted" ]]; then
  change cloud builds triggers update github "$BUILD_TRIGGER" \
    --repo-owner="$GITHUB_OWNER" \
    --repo-name="$GITHUB_REPOSITORY" \
    "${settings[@]}"
fi
