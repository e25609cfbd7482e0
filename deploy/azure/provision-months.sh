#!/usr/bin/env bash
# Makes the containers of the coming months that aren't there yet, each with its retention policy, unlocked, and the
# writer's rights. Containers that have a policy are left alone, locked or not. Run it once a year, and lock-policies.sh
# after it.
#
#   deploy/azure/provision-months.sh ACCOUNT RESOURCE_GROUP PRINCIPAL_ID [--prefix P] [--years N] [--from YYYY-MM]
#       [--months N] [--no-canary] [--dry-run]
#
# PRINCIPAL_ID is the object id of the identity that captures, as main.bicep gave it out. From this month on, 24 months,
# unless told otherwise. Needs the Azure CLI (az), signed in as who deployed main.bicep, and jq.
set -euo pipefail

usage="usage: $0 ACCOUNT RESOURCE_GROUP PRINCIPAL_ID [--prefix P] [--years N] [--from YYYY-MM] [--months N]
    [--no-canary] [--dry-run]"
account=${1:?"$usage"}
group=${2:?"$usage"}
principal=${3:?"$usage"}
shift 3
prefix='' years=7 from=$(date -u +%Y-%m) months=24 canary=true dry_run=''
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) prefix=${2:?"$usage"}- && shift 2 ;;
    --years) years=${2:?"$usage"} && shift 2 ;;
    --from) from=${2:?"$usage"} && shift 2 ;;
    --months) months=${2:?"$usage"} && shift 2 ;;
    --no-canary) canary=false && shift ;;
    --dry-run) dry_run=yes && shift ;;
    *) echo "$usage" >&2 && exit 2 ;;
    esac
done
[[ $years =~ ^[1-9][0-9]?$ ]] || { echo "--years is a number from 1 to 99" >&2 && exit 2; }
[[ $months =~ ^[1-9][0-9]?$ ]] || { echo "--months is a number from 1 to 99" >&2 && exit 2; }
[[ $from =~ ^20[0-9]{2}-(0[1-9]|1[0-2])$ ]] || { echo "--from is a month such as 2026-11" >&2 && exit 2; }

# As deploy/bicep/main.bicep and the check of the service reckon.
days=$((years * 365 + (years + 3) / 4 + 100))
start=$((10#${from%-*} * 12 + 10#${from#*-} - 1))

protected=$(az storage container-rm list --storage-account "$account" --resource-group "$group" --output json \
    | jq -r '.[] | . + (.properties // {}) | select(.hasImmutabilityPolicy == true) | .name')

missing=()
for ((i = start; i < start + months; i++)); do
    name=$(printf '%s%04d-%02d' "$prefix" $((i / 12)) $((i % 12 + 1)))
    grep -qx -- "$name" <<<"$protected" || missing+=("$name")
done
if [ "${#missing[@]}" -eq 0 ]; then
    echo "all $months months from $from on have a container with a policy; nothing to do"
    exit 0
fi
if [ -n "$dry_run" ]; then
    echo "${#missing[@]} would be made, for $days days: ${missing[*]}"
    exit 0
fi

names=$(printf '%s\n' "${missing[@]}" | jq -R . | jq -sc .)
az deployment group create --resource-group "$group" --name "$account-months-${missing[0]}" \
    --template-file "$(dirname "$0")/../bicep/worm.bicep" --output none \
    --parameters accountName="$account" names="$names" days="$days" principalId="$principal" mayTryCanary="$canary"
echo "made, for $days days each, not locked yet: ${missing[*]}"
