"""Configures gateway responses and CORS preflight, which MiniStack ignores in a template."""

import re
from typing import Any

from tools.local import stack
from tools.local.environment import aws_client


def configure(port: int) -> None:
    """Copies gateway responses and preflight responses from the deployed template to the emulator's API."""
    cloudformation, gateway = aws_client("cloudformation", port), aws_client("apigateway", port)
    (described,) = cloudformation.describe_stacks(StackName=stack.NAME)["Stacks"]
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in described["Parameters"]}
    processed = cloudformation.get_template(StackName=stack.NAME, TemplateStage="Processed")["TemplateBody"]
    resources = processed["Resources"].values()
    (api,) = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::ApiGateway::RestApi"]
    definition = _substitute(api["Body"], parameters)
    api_id = stack.outputs(port)["ApiId"]
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
            gateway.put_integration_response(
                restApiId=api_id,
                resourceId=resource["id"],
                httpMethod="OPTIONS",
                **preflight["x-amazon-apigateway-integration"]["responses"]["default"],
            )
    gateway.create_deployment(restApiId=api_id, stageName="v1")


def _substitute(value: Any, parameters: dict[str, str]) -> Any:  # noqa: ANN401 - any part of a template
    """Returns *value* with `Fn::Sub` resolved."""
    if isinstance(value, dict):
        if value.keys() == {"Fn::Sub"} and isinstance(value["Fn::Sub"], str):
            return re.sub(r"\$\{(\w+)\}", lambda found: parameters.get(found[1], found[0]), value["Fn::Sub"])
        return {name: _substitute(inner, parameters) for name, inner in value.items()}
    return value
