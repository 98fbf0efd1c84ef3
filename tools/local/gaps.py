"""What the emulator does not do of the template by itself, put in place after each deployment."""

import re
from typing import Any

from tools.local import stack
from tools.local.environment import aws_session, emulator_url


def fill(port: int) -> None:
    """Fills them: what API Gateway answers by itself."""
    session = aws_session()
    cloudformation = session.client("cloudformation", endpoint_url=emulator_url(port))
    gateway = session.client("apigateway", endpoint_url=emulator_url(port))
    api_id = stack.api_id(port)
    (described,) = cloudformation.describe_stacks(StackName=stack.NAME)["Stacks"]
    parameters = {given["ParameterKey"]: given["ParameterValue"] for given in described["Parameters"]}
    processed: Any = cloudformation.get_template(StackName=stack.NAME, TemplateStage="Processed")["TemplateBody"]
    resources = processed["Resources"].values()
    (api,) = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::ApiGateway::RestApi"]
    definition = _substituted(api["Body"], parameters)
    for response_type, response in definition["x-amazon-apigateway-gateway-responses"].items():
        gateway.put_gateway_response(
            restApiId=api_id,
            responseType=response_type,
            responseParameters=response["responseParameters"],
            responseTemplates=response["responseTemplates"],
            **({"statusCode": str(response["statusCode"])} if "statusCode" in response else {}),
        )
    for resource in gateway.get_resources(restApiId=api_id, limit=500)["items"]:
        preflight = definition["paths"].get(resource["path"], {}).get("options")
        if preflight:
            response = preflight["x-amazon-apigateway-integration"]["responses"]["default"]
            gateway.put_integration_response(
                restApiId=api_id,
                resourceId=resource["id"],
                httpMethod="OPTIONS",
                statusCode=response["statusCode"],
                responseParameters=response["responseParameters"],
                responseTemplates=response["responseTemplates"],
            )
    gateway.create_deployment(restApiId=api_id, stageName="v1")


def _substituted(value: Any, parameters: dict[str, str]) -> Any:  # noqa: ANN401 - any part of a template
    """*value* with `Fn::Sub` carried out."""
    if isinstance(value, dict):
        if value.keys() == {"Fn::Sub"} and isinstance(value["Fn::Sub"], str):
            return re.sub(r"\$\{(\w+)\}", lambda found: parameters.get(found[1], found[0]), value["Fn::Sub"])
        return {name: _substituted(inner, parameters) for name, inner in value.items()}
    return value
