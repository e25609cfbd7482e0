// Containers that are written once: each with a retention policy, unlocked, and the writer's rights on it. Used by
// main.bicep, and by deploy/azure/provision-months.sh for months that come later.
//
// Never name a container whose policy is locked already: nothing but a longer interval is taken there.

targetScope = 'resourceGroup'

@description('The storage account.')
param accountName string

@description('The containers to make, by their whole names.')
param names string[]

@description('For how many days from its creation each blob is kept.')
@minValue(1)
@maxValue(146000)
param days int

@description('The object id of the identity that captures.')
param principalId string

@description('Whether it may try to overwrite and to delete the blob called canary.')
param mayTryCanary bool = true

var blob = 'Microsoft.Storage/storageAccounts/blobServices/containers/blobs'
var isNeither = '!(ActionMatches{\'${blob}/write\'}) AND !(ActionMatches{\'${blob}/delete\'})'
var onlyCanary = '((${isNeither}) OR (@Resource[${blob}:path] StringEquals \'canary\'))'
var definitions = 'Microsoft.Authorization/roleDefinitions'

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: accountName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' existing = {
  parent: account
  name: 'default'
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = [
  for name in names: {
    parent: blobs
    name: name
    properties: {
      publicAccess: 'None'
    }
  }
]

resource policies 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2023-05-01' = [
  for (name, i) in names: {
    parent: containers[i]
    name: 'default'
    properties: {
      immutabilityPeriodSinceCreationInDays: days
      allowProtectedAppendWrites: false
    }
  }
]

resource writers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, i) in names: {
    scope: containers[i]
    name: guid(account.id, name, principalId, 'tenure writer')
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId(definitions, guid(account.id, 'tenure writer'))
    }
  }
]

resource canaries 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for (name, i) in names: if (mayTryCanary) {
    scope: containers[i]
    name: guid(account.id, name, principalId, 'tenure canary')
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId(definitions, guid(account.id, 'tenure canary'))
      condition: onlyCanary
      conditionVersion: '2.0'
    }
  }
]
