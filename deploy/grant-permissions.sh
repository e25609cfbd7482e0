#!/usr/bin/env bash
# Grants an application what Tenure needs to read, and nothing else: the application permissions of Microsoft Graph in
# graph-permissions.json that it doesn't have yet, with admin consent.
#
#   deploy/grant-permissions.sh CLIENT_ID [--dry-run]
#
# Needs the Azure CLI (az), signed in as a Privileged Role Administrator, and jq. Permissions are looked up by name in
# the tenant's own service principal of Microsoft Graph, so that a national cloud's are its own.
set -euo pipefail

client_id=${1:?"usage: $0 CLIENT_ID [--dry-run]"}
dry_run=${2:-}
list=$(dirname "$0")/graph-permissions.json
graph=$(az cloud show --query endpoints.microsoftGraphResourceId --output tsv)
graph=${graph%/}

principal=$(az ad sp show --id "$client_id" --query id --output tsv)
resource=$(az ad sp show --id 00000003-0000-0000-c000-000000000000 --output json)
resource_id=$(jq -r .id <<<"$resource")
granted=$(az rest --method get --url "$graph/v1.0/servicePrincipals/$principal/appRoleAssignments?\$top=999" \
    | jq -r --arg resource "$resource_id" '.value[] | select(.resourceId == $resource) | .appRoleId')

permissions=$(jq -er '.permissions[].name' "$list")
for permission in $permissions; do
    role=$(jq -r --arg name "$permission" \
        '.appRoles[] | select(.value == $name and (.allowedMemberTypes | index("Application"))) | .id' <<<"$resource")
    if [ -z "$role" ]; then
        echo "$permission: this cloud doesn't have it" >&2
    elif grep -qx "$role" <<<"$granted"; then
        echo "$permission: granted already"
    elif [ "$dry_run" = "--dry-run" ]; then
        echo "$permission: would be granted"
    else
        body=$(jq -n --arg p "$principal" --arg r "$resource_id" --arg a "$role" \
            '{principalId: $p, resourceId: $r, appRoleId: $a}')
        az rest --method post --url "$graph/v1.0/servicePrincipals/$principal/appRoleAssignments" \
            --headers Content-Type=application/json --body "$body" --output none
        echo "$permission: granted"
    fi
done
