#!/usr/bin/env bash
# Locks the retention policies of an archive's containers: the log's, and those of all months that exist.
#
#   deploy/azure/lock-policies.sh ACCOUNT RESOURCE_GROUP [--prefix P] [--years N] [--dry-run]
#
# Nobody can undo that, Microsoft included: what is in these containers then stays for the whole interval, and is paid
# for. So it looks first, shows every interval, stops where one is not as the archive needs it, and asks for the name of
# the account. A second run finds the policies locked and does nothing.
#
# Needs the Azure CLI (az), signed in with the right to lock policies (Storage Account Contributor has it), and jq.
set -euo pipefail

usage="usage: $0 ACCOUNT RESOURCE_GROUP [--prefix P] [--years N] [--dry-run]"
account=${1:?"$usage"}
group=${2:?"$usage"}
shift 2
prefix='' years=7 dry_run=''
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) prefix=${2:?"$usage"}- && shift 2 ;;
    --years) years=${2:?"$usage"} && shift 2 ;;
    --dry-run) dry_run=yes && shift ;;
    *) echo "$usage" >&2 && exit 2 ;;
    esac
done
[[ $years =~ ^[1-9][0-9]?$ ]] || { echo "--years is a number from 1 to 99" >&2 && exit 2; }

# As deploy/bicep/main.bicep and the check of the service reckon.
days_of() { echo $(($1 * 365 + ($1 + 3) / 4 + 100)); }

# With what is in "properties", where a version of az leaves it there.
policy_of() {
    if jq -e --arg name "$1" 'any(.[]; .name == $name and (. + (.properties // {})).hasImmutabilityPolicy == true)' \
        <<<"$listed" >/dev/null; then
        az storage container immutability-policy show --account-name "$account" --resource-group "$group" \
            --container-name "$1" --output json | jq -c '. + (.properties // {})'
    else
        echo '{}'
    fi
}

listed=$(az storage container-rm list --storage-account "$account" --resource-group "$group" --output json)
names=$(jq -r --arg prefix "$prefix" '.[].name | select(startswith($prefix))
    | select(.[($prefix | length):] | test("^(log|[0-9]{4}-[0-9]{2})$"))' <<<"$listed" | sort)
grep -qx -- "${prefix}log" <<<"$names" || { echo "there is no container ${prefix}log in $account" >&2 && exit 1; }

problems=0
open=()
printf '%-40s %-10s %8s %8s\n' container state days wanted
for name in $names; do
    wanted=$(days_of "$years")
    [ "$name" = "${prefix}log" ] && wanted=$(days_of $((years + 10)))
    policy=$(policy_of "$name")
    days=$(jq -r '.immutabilityPeriodSinceCreationInDays // 0' <<<"$policy")
    state=$(jq -r '.state // "none"' <<<"$policy")
    appends=$(jq -r '(.allowProtectedAppendWrites // false) or (.allowProtectedAppendWritesAll // false)' <<<"$policy")
    printf '%-40s %-10s %8s %8s\n' "$name" "$state" "$days" "$wanted"
    if [ "$state" = none ]; then
        echo "  $name has no policy: deploy/azure/provision-months.sh makes it" >&2
        problems=$((problems + 1))
    elif [ "$days" -lt "$wanted" ]; then
        echo "  $name keeps for $days days, $wanted are needed" >&2
        problems=$((problems + 1))
    elif [ "$state" != Locked ] && [ "$days" -gt "$wanted" ]; then
        echo "  $name would keep for $days days, longer than the $wanted that are needed; --years $years?" >&2
        problems=$((problems + 1))
    elif [ "$appends" = true ]; then
        echo "  $name takes additions to what is written" >&2
        problems=$((problems + 1))
    elif [ "$state" != Locked ]; then
        open+=("$name")
    fi
done

if [ "$problems" -gt 0 ]; then
    echo "nothing was locked: $problems of these policies are not as the archive needs them" >&2
    exit 1
fi
if [ "${#open[@]}" -eq 0 ]; then
    echo "all are locked; nothing to do"
    exit 0
fi
if [ -n "$dry_run" ]; then
    echo "${#open[@]} would be locked: ${open[*]}"
    exit 0
fi

echo
echo "${#open[@]} policies of $account will be LOCKED. Nobody can undo this. For as many days as shown above nothing in"
echo "these containers can be changed or deleted, nor the account while it holds them."
printf 'Type the name of the account to lock them: '
read -r answer || true
if [ "${answer:-}" != "$account" ]; then
    echo "nothing was locked" >&2
    exit 1
fi

for name in "${open[@]}"; do
    # With the tag of what was just looked at: a policy that changed since isn't locked unseen.
    before=$(policy_of "$name")
    days=$(jq -r .immutabilityPeriodSinceCreationInDays <<<"$before")
    wanted=$(days_of "$years")
    [ "$name" = "${prefix}log" ] && wanted=$(days_of $((years + 10)))
    if [ "$days" -ne "$wanted" ]; then
        echo "$name was changed meanwhile, to $days days: not locked" >&2
        exit 1
    fi
    az storage container immutability-policy lock --account-name "$account" --resource-group "$group" \
        --container-name "$name" --if-match "$(jq -r .etag <<<"$before")" --output none
    after=$(policy_of "$name")
    if ! jq -e --argjson days "$wanted" \
        '.state == "Locked" and .immutabilityPeriodSinceCreationInDays == $days' <<<"$after" >/dev/null; then
        echo "$name was to be locked for $wanted days, and is not; look at it before anything else is done" >&2
        exit 1
    fi
    echo "$name: locked, $wanted days"
done
