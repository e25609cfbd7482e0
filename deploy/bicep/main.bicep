// The storage account of an archive: containers, retention policies, an identity and the least rights it needs.
//
//   az deployment group create --resource-group G --template-file deploy/bicep/main.bicep \
//     --parameters accountName=contosohistory firstYear=2026 firstMonth=11
//
// Once, for the beginning. Policies are made unlocked, since a template can't lock: deploy/azure/lock-policies.sh does,
// after a look. Don't deploy this again afterwards: the only thing that a locked policy takes is a longer interval.
// Further months: deploy/azure/provision-months.sh, which deploys worm.bicep for those that aren't there.

targetScope = 'resourceGroup'

@description('The name of the storage account, in lower case letters and digits.')
@minLength(3)
@maxLength(24)
param accountName string

@description('Where the account lives.')
param location string = resourceGroup().location

@description('How many copies, and where. Zones by default; GZRS and RAGZRS keep copies in the paired region besides.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GZRS', 'Standard_RAGZRS', 'Standard_GRS'])
param sku string = 'Standard_ZRS'

@description('What the names of this archive\'s containers begin with, before a hyphen; empty for none. As in [store].')
@maxLength(50)
param prefix string = ''

@description('The year of the first month that is captured.')
@minValue(2024)
@maxValue(2099)
param firstYear int

@description('The first month that is captured, 1 to 12.')
@minValue(1)
@maxValue(12)
param firstMonth int

@description('How many months to make containers for.')
@minValue(1)
@maxValue(60)
param monthCount int = 24

@description('For how many years history is kept, as in [retention].')
@minValue(1)
@maxValue(100)
param retentionYears int = 7

@description('The object id of the identity that captures, if there is one already; empty to make one.')
param writerPrincipalId string = ''

@description('The name of the identity to make.')
param identityName string = '${accountName}-tenure'

@description('Whether the writer may try to overwrite and to delete the one blob called canary in each container.')
param mayTryCanary bool = true

@description('Whether the account answers on the internet. Disabled needs a private endpoint, which is not made here.')
@allowed(['Enabled', 'Disabled'])
param publicNetworkAccess string = 'Enabled'

@description('Addresses and ranges that may reach the account. With these or subnets given, nobody else may.')
param allowedAddresses string[] = []

@description('Resource ids of subnets that may reach the account.')
param allowedSubnets string[] = []

@description('The resource id of the Log Analytics workspace that keeps who read, wrote and deleted; empty for none.')
param workspaceId string = ''

var beginning = empty(prefix) ? '' : '${prefix}-'
var isClosed = !empty(allowedAddresses) || !empty(allowedSubnets)

// The months in a row. Counted here: what dateTimeAdd takes a month for is not documented.
var start = firstYear * 12 + firstMonth - 1
var months = [
  for i in range(start, monthCount): '${beginning}${i / 12}-${padLeft(string(i % 12 + 1), 2, '0')}'
]

// As src/store/azure/guard.rs asks for: a year in four has a day more, a segment lives at most 93 days while the time
// of each blob counts from its own creation, and the log outlives what it speaks of.
var logYears = retentionYears + 10
var monthDays = retentionYears * 365 + (retentionYears + 3) / 4 + 100
var logDays = logYears * 365 + (logYears + 3) / 4 + 100

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: accountName
  location: location
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    // A cool tier bills at least 128 KiB a blob.
    accessTier: 'Hot'
    // Flat: under a hierarchical namespace names can be renamed.
    isHnsEnabled: false
    isSftpEnabled: false
    isLocalUserEnabled: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'None'
      defaultAction: isClosed ? 'Deny' : 'Allow'
      ipRules: [
        for address in allowedAddresses: {
          action: 'Allow'
          value: address
        }
      ]
      virtualNetworkRules: [
        for subnet in allowedSubnets: {
          action: 'Allow'
          id: subnet
        }
      ]
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
  properties: {
    // Under versioning an overwrite succeeds, as a new version.
    isVersioningEnabled: false
    // What a locked policy keeps needs no second chance, and what has expired has to be gone.
    deleteRetentionPolicy: {
      enabled: false
    }
    containerDeleteRetentionPolicy: {
      enabled: false
    }
  }
}

// Derived, and the only container whose blobs may be replaced: no policy.
resource view 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: '${beginning}view'
  properties: {
    publicAccess: 'None'
  }
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = if (empty(writerPrincipalId)) {
  name: identityName
  location: location
}

// Roles. Their names are computed from the account's id, so that worm.bicep and rights.bicep find them again.

resource containersRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(account.id, 'tenure containers')
  properties: {
    roleName: 'Tenure containers (${accountName})'
    description: 'Lists containers and reads their properties and policies.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/read'
          'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/read'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
  }
}

resource writerRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(account.id, 'tenure writer')
  properties: {
    roleName: 'Tenure writer (${accountName})'
    description: 'Reads blobs and adds new ones. Neither overwrites nor deletes.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action'
        ]
        notDataActions: []
      }
    ]
  }
}

resource viewRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(account.id, 'tenure view')
  properties: {
    roleName: 'Tenure view (${accountName})'
    description: 'Reads, adds and replaces blobs: for the derived view alone.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write'
        ]
        notDataActions: []
      }
    ]
  }
}

// Assigned in worm.bicep only, and there under a condition that leaves one blob of each container, which holds nothing.
resource canaryRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(account.id, 'tenure canary')
  properties: {
    roleName: 'Tenure canary (${accountName})'
    description: 'Tries to overwrite and to delete. Assign it under the condition of worm.bicep, or not at all.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete'
        ]
        notDataActions: []
      }
    ]
  }
}

// For another identity than the one that captures, on single months, when their time is over. Nothing assigns it.
resource expiryRole 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(account.id, 'tenure expiry')
  properties: {
    roleName: 'Tenure expiry (${accountName})'
    description: 'Deletes the blobs of a month whose retention is over, and then its container.'
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/read'
          'Microsoft.Storage/storageAccounts/blobServices/containers/delete'
        ]
        notActions: []
        dataActions: [
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'
          'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete'
        ]
        notDataActions: []
      }
    ]
  }
}

var principalId = empty(writerPrincipalId) ? identity!.properties.principalId : writerPrincipalId

module rights 'rights.bicep' = {
  name: '${accountName}-rights'
  params: {
    accountName: accountName
    viewName: view.name
    principalId: principalId
  }
  dependsOn: [containersRole, viewRole]
}

module log 'worm.bicep' = {
  name: '${accountName}-log'
  params: {
    accountName: accountName
    names: ['${beginning}log']
    days: logDays
    principalId: principalId
    mayTryCanary: mayTryCanary
  }
  dependsOn: [blobs, writerRole, canaryRole]
}

module segments 'worm.bicep' = {
  name: '${accountName}-months'
  params: {
    accountName: accountName
    names: months
    days: monthDays
    principalId: principalId
    mayTryCanary: mayTryCanary
  }
  dependsOn: [blobs, writerRole, canaryRole]
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(workspaceId)) {
  scope: blobs
  name: 'tenure'
  properties: {
    workspaceId: workspaceId
    logs: [
      for category in ['StorageRead', 'StorageWrite', 'StorageDelete']: {
        category: category
        enabled: true
      }
    ]
  }
}

@description('account_url in [store].')
output accountUrl string = account.properties.primaryEndpoints.blob

@description('resource_id in [store].')
output resourceId string = account.id

@description('client_id of the identity that was made, and the argument of grant-permissions.sh.')
output clientId string = empty(writerPrincipalId) ? identity!.properties.clientId : ''

@description('The object id of the identity that captures: the argument of provision-months.sh.')
output principalId string = principalId

@description('The containers with policies that are to be locked.')
output containers string[] = concat(['${beginning}log'], months)
