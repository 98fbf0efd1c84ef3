"""The permissions that each role should have: action, and the resources it is allowed on, named as in the template."""

from tests.template import FUNCTIONS, OTHERS

HOOK = "ExerciseRelease"
# The functions that CodeDeploy releases.
RELEASED = FUNCTIONS.keys() - {HOOK}

CONVERSATIONS, MESSAGES, DEAD_LETTERS = "ConversationsTable.Arn", "MessagesTable.Arn", "DeadLetters.Arn"
CHANGES = "ChangesTable.Arn"
BY_USER = f"{MESSAGES}/index/by_user"
BY_ACTIVITY = {f"{CONVERSATIONS}/index/by_activity", f"{CONVERSATIONS}/index/by_group_activity"}
DEPLOYMENT_GROUPS = (
    "arn:AWS::Partition:codedeploy:AWS::Region:AWS::AccountId:deploymentgroup:"
    "AWS::StackName-ServerlessDeploymentApplication-*/*"
)
BUS = f"arn:AWS::Partition:events:AWS::Region:AWS::AccountId:event-bus/{OTHERS['EventBusName']}"
WEBHOOKS = "WebhookQueue.Arn"
MASTER_KEY = "arn:AWS::Partition:ssm:AWS::Region:AWS::AccountId:parameter/coherent-conversations/AWS::StackName/\
webhook-master-key"
MAPPING = "arn:AWS::Partition:lambda:AWS::Region:AWS::AccountId:event-source-mapping:DeliverWebhookQueue"
BY_TIME = f"{CHANGES}/index/by_time"
INBOUND, RELEASE_HOOKS = "InboundQueue.Arn", "ReleaseHooks.Arn"
# Each released function with its versions and its alias.
ANY_VERSION = {f"{function}.Arn*" for function in RELEASED}
STREAM, MESSAGES_STREAM = f"{CONVERSATIONS}/stream/*", f"{MESSAGES}/stream/*"
# Of deliver_messages and sweep_deliveries.
DELIVERY: dict[str, set[str]] = {
    "cognito-idp:ListUserPoolClients": {OTHERS["UserPoolArn"]},
    "cognito-idp:ListUsers": {OTHERS["UserPoolArn"]},
    "dynamodb:DeleteItem": {MESSAGES},
    "dynamodb:Query": {CONVERSATIONS, MESSAGES},
    **{
        f"dynamodb:{action}Item": {CONVERSATIONS, MESSAGES}
        for action in ("BatchGet", "ConditionCheck", "Get", "Put", "Update")
    },
    "sqs:SendMessage": {DEAD_LETTERS},
}
# Of create_webhook and update_webhook.
SECRETS: dict[str, set[str]] = {
    "lambda:UpdateEventSourceMapping": {MAPPING},
    "ssm:GetParameter": {MASTER_KEY},
    "ssm:PutParameter": {MASTER_KEY},
}

GRANTS: dict[str, dict[str, set[str]]] = {
    "CountUnread": {"dynamodb:GetItem": {CONVERSATIONS}, "dynamodb:Query": BY_ACTIVITY},
    "CreateConversation": {f"dynamodb:{action}Item": {CONVERSATIONS} for action in ("ConditionCheck", "Get", "Put")},
    "CreateMessage": {
        "dynamodb:GetItem": {CONVERSATIONS},
        "dynamodb:PutItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:UpdateItem": {CONVERSATIONS},
    },
    "CreateRedelivery": {"dynamodb:GetItem": {CONVERSATIONS}, "sqs:SendMessage": {WEBHOOKS}},
    "CreateWebhook": {**SECRETS, "dynamodb:PutItem": {CONVERSATIONS}, "dynamodb:UpdateItem": {CONVERSATIONS}},
    "DeleteConversation": {"dynamodb:DeleteItem": {CONVERSATIONS}, "dynamodb:PutItem": {CONVERSATIONS}},
    "DeleteMessage": {
        "dynamodb:BatchGetItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:ConditionCheckItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:DeleteItem": {MESSAGES},
        "dynamodb:PutItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:Query": {MESSAGES, BY_USER},
        "dynamodb:UpdateItem": {CONVERSATIONS},
    },
    "DeleteWebhook": {"dynamodb:DeleteItem": {CONVERSATIONS}, "dynamodb:UpdateItem": {CONVERSATIONS}},
    "DeliverMessages": {
        **DELIVERY,
        # Lambda requires all four before it creates the mapping.
        "dynamodb:DescribeStream": {MESSAGES_STREAM},
        "dynamodb:GetRecords": {MESSAGES_STREAM},
        "dynamodb:GetShardIterator": {MESSAGES_STREAM},
        "dynamodb:ListStreams": {MESSAGES_STREAM},
    },
    "DeliverWebhook": {
        "dynamodb:BatchGetItem": {CHANGES},
        "dynamodb:GetItem": {CONVERSATIONS},
        "dynamodb:Query": {BY_TIME},
        "dynamodb:UpdateItem": {CONVERSATIONS},
        "sqs:ChangeMessageVisibility": {WEBHOOKS},
        "sqs:SendMessage": {DEAD_LETTERS, WEBHOOKS},
        "ssm:GetParameter": {MASTER_KEY},
        "sqs:GetQueueAttributes": {WEBHOOKS},
        # Lambda requires these two, and the one above, before it creates the mapping.
        "sqs:DeleteMessage": {WEBHOOKS},
        "sqs:ReceiveMessage": {WEBHOOKS},
    },
    HOOK: {
        "codedeploy:PutLifecycleEventHookExecutionStatus": {DEPLOYMENT_GROUPS},
        "dynamodb:GetItem": {CONVERSATIONS},
        "dynamodb:PutItem": {CONVERSATIONS},
        "lambda:InvokeFunction": ANY_VERSION,
        "sqs:SendMessage": {RELEASE_HOOKS},
        # Lambda requires these three before it creates the mapping.
        "sqs:DeleteMessage": {RELEASE_HOOKS},
        "sqs:GetQueueAttributes": {RELEASE_HOOKS},
        "sqs:ReceiveMessage": {RELEASE_HOOKS},
    },
    "ListChanges": {"dynamodb:GetItem": {CHANGES}, "dynamodb:Query": {CHANGES}},
    "ListConversations": {
        "dynamodb:Query": {CONVERSATIONS, f"{CONVERSATIONS}/index/by_flags", f"{CONVERSATIONS}/index/by_group"}
    },
    "ListInbox": {
        "dynamodb:BatchGetItem": {CONVERSATIONS},
        "dynamodb:GetItem": {CONVERSATIONS},
        "dynamodb:Query": BY_ACTIVITY,
    },
    "ListMessages": {"dynamodb:BatchGetItem": {CONVERSATIONS}, "dynamodb:Query": {MESSAGES, BY_USER}},
    "ListWebhooks": {"dynamodb:Query": {CONVERSATIONS}},
    "PublishChanges": {
        **{f"dynamodb:{action}Item": {CHANGES} for action in ("Get", "Put", "Update")},
        "dynamodb:Query": {CHANGES, CONVERSATIONS},
        "events:PutEvents": {BUS},
        "sqs:SendMessage": {DEAD_LETTERS, WEBHOOKS},
        # Lambda requires all four before it creates the mappings.
        "dynamodb:DescribeStream": {STREAM, MESSAGES_STREAM},
        "dynamodb:GetRecords": {STREAM, MESSAGES_STREAM},
        "dynamodb:GetShardIterator": {STREAM, MESSAGES_STREAM},
        "dynamodb:ListStreams": {STREAM, MESSAGES_STREAM},
    },
    "PurgeMessages": {
        "dynamodb:BatchWriteItem": {MESSAGES},
        "dynamodb:GetItem": {CONVERSATIONS},
        "dynamodb:Query": {MESSAGES},
        "sqs:SendMessage": {DEAD_LETTERS},
        # Lambda requires all four before it creates the mapping.
        "dynamodb:DescribeStream": {STREAM},
        "dynamodb:GetRecords": {STREAM},
        "dynamodb:GetShardIterator": {STREAM},
        "dynamodb:ListStreams": {STREAM},
    },
    "ReceiveMessage": {
        "dynamodb:PutItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:GetItem": {CONVERSATIONS},
        "dynamodb:UpdateItem": {CONVERSATIONS},
        "sqs:SendMessage": {DEAD_LETTERS},
        "sqs:ChangeMessageVisibility": {INBOUND},
        # Lambda requires these three before it creates the mapping.
        "sqs:DeleteMessage": {INBOUND},
        "sqs:GetQueueAttributes": {INBOUND},
        "sqs:ReceiveMessage": {INBOUND},
    },
    "RetrieveConversation": {"dynamodb:GetItem": {CONVERSATIONS}},
    "RetrieveDocs": {},
    "RetrieveInboxEntry": {"dynamodb:BatchGetItem": {CONVERSATIONS}, "dynamodb:GetItem": {CONVERSATIONS}},
    "RetrieveMessage": {"dynamodb:BatchGetItem": {CONVERSATIONS, MESSAGES}, "dynamodb:Query": {BY_USER}},
    "RetrieveWebhook": {"dynamodb:GetItem": {CONVERSATIONS}},
    "SweepDeliveries": DELIVERY,
    "SweepInbox": {
        **{f"dynamodb:{action}Item": {CONVERSATIONS} for action in ("Delete", "Get", "Put", "Update")},
        "dynamodb:DescribeTable": {CONVERSATIONS},
        "dynamodb:Query": {CONVERSATIONS, MESSAGES},
        "dynamodb:Scan": {CONVERSATIONS},
    },
    "SweepPurges": {
        "dynamodb:BatchWriteItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:GetItem": {CONVERSATIONS},
        "dynamodb:Query": {CONVERSATIONS, MESSAGES},
    },
    "UpdateConversation": {
        "dynamodb:ConditionCheckItem": {MESSAGES},
        "dynamodb:GetItem": {CONVERSATIONS},
        "dynamodb:UpdateItem": {CONVERSATIONS},
    },
    "UpdateInboxEntry": {
        "dynamodb:BatchGetItem": {CONVERSATIONS},
        "dynamodb:ConditionCheckItem": {CONVERSATIONS},
        "dynamodb:GetItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:PutItem": {CONVERSATIONS},
        "dynamodb:Query": {MESSAGES},
        "dynamodb:UpdateItem": {CONVERSATIONS},
    },
    "UpdateMessage": {
        "dynamodb:BatchGetItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:ConditionCheckItem": {CONVERSATIONS},
        "dynamodb:PutItem": {MESSAGES},
        "dynamodb:Query": {BY_USER},
        "dynamodb:UpdateItem": {CONVERSATIONS, MESSAGES},
    },
    "UpdateWebhook": {**SECRETS, "dynamodb:GetItem": {CONVERSATIONS}, "dynamodb:UpdateItem": {CONVERSATIONS}},
}
# Of every function.
COMMON_GRANTS = {
    "logs:CreateLogStream": {"FunctionLogs.Arn"},
    "logs:PutLogEvents": {"FunctionLogs.Arn"},
    "xray:PutTelemetryRecords": {"*"},
    "xray:PutTraceSegments": {"*"},
}
# Of every function that uses tables or the queue, if the stack has a KMS key.
KEY_GRANTS = {
    f"kms:{action}": {OTHERS["KmsKeyArn"]}
    for action in ("Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo")
}
CODEDEPLOY_GRANTS = {
    # Lambda checks the first two on the function: they are denied if the resource names only the alias.
    "lambda:GetAlias": ANY_VERSION,
    "lambda:UpdateAlias": ANY_VERSION,
    "lambda:GetProvisionedConcurrencyConfig": ANY_VERSION,
    "lambda:InvokeFunction": {f"{HOOK}.Arn"},
    "cloudwatch:DescribeAlarms": {"*"},
}
# The only actions allowed on resources with a wildcard in their names, and the reason.
WILDCARDS = {
    "cloudwatch:DescribeAlarms": "AWS's own policy for CodeDeploy allows it on all alarms, and it only reads",
    "codedeploy:PutLifecycleEventHookExecutionStatus": "names of deployment groups have a random suffix",
    "dynamodb:DescribeStream": "the name of a stream is the time of its creation",
    "dynamodb:GetRecords": "the same",
    "dynamodb:GetShardIterator": "the same",
    "dynamodb:ListStreams": "the same",
    "lambda:GetAlias": "a function, its versions and its alias",
    "lambda:GetProvisionedConcurrencyConfig": "the same",
    "lambda:InvokeFunction": "the same; a grant for one new version may take effect too late",
    "lambda:UpdateAlias": "the same",
    "xray:PutTelemetryRecords": "X-Ray actions do not support resource-level permissions",
    "xray:PutTraceSegments": "the same",
}
