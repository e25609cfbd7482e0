// What the identity that captures may do beside writing: see the containers of the account, and replace what is in the
// view. A module of its own, since the names of assignments have to be known before the identity is made.

targetScope = 'resourceGroup'

@description('The storage account.')
param accountName string

@description('The container of the view.')
param viewName string

@description('The object id of the identity that captures.')
param principalId string

var definitions = 'Microsoft.Authorization/roleDefinitions'

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: accountName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' existing = {
  parent: account
  name: 'default'
}

resource view 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' existing = {
  parent: blobs
  name: viewName
}

resource containersReader 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, principalId, 'tenure containers')
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, guid(account.id, 'tenure containers'))
  }
}

resource viewWriter 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: view
  name: guid(account.id, principalId, 'tenure view')
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, guid(account.id, 'tenure view'))
  }
}
