"""Translates template.yaml as SAM does, and creates it with an independent emulator of CloudFormation. Every resource must be complete."""

import io
import json
import os
import zipfile

for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
    os.environ[name] = "test"
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"

import boto3
from moto import mock_aws
from samtranslator.parser.parser import Parser
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ARTIFACTS = "artifacts"
# Types that the emulator does not know. Their properties are checked by `sam validate --lint`.
UNKNOWN_TYPES = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Logs::MetricFilter",
    "AWS::Logs::QueryDefinition",
    "AWS::SQS::QueuePolicy",
    "AWS::SecretsManager::Secret",
}
# All optional parts of the template.
PARAMETERS = {
    "RecordingsBucket": "recordings",
    "RecordingsKmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000",
    "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms",
    "CorsAllowedOrigins": "https://app.example.com",
    "CreateDashboard": "true",
    "MonthlyBudgetUsd": "25",
    "XrayTracing": "true",
}


class NoManagedPolicies:
    """The template names no managed policy."""

    def load(self):
        return {}


def translated(path):
    with open(path, encoding="utf-8") as file:
        template = yaml_parse(file.read())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = f"s3://{ARTIFACTS}/function.zip"
    return transform(template, PARAMETERS, NoManagedPolicies())


@mock_aws(config={"lambda": {"use_docker": False}})
def create(template):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("bootstrap", "")
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=ARTIFACTS)
    s3.put_object(Bucket=ARTIFACTS, Key="function.zip", Body=archive.getvalue())
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName="call-recordings",
        TemplateBody=json.dumps(template),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in PARAMETERS.items()],
    )
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName="call-recordings")
    return {item["LogicalResourceId"]: item["ResourceStatus"] for page in pages for item in page["StackResourceSummaries"]}


def main():
    template = translated("template.yaml")
    types = {name: resource["Type"] for name, resource in template["Resources"].items()}
    created = create(template)
    incomplete = {name: status for name, status in created.items() if status != "CREATE_COMPLETE"}
    assert not incomplete, incomplete
    missing = {types[name] for name in types.keys() - created.keys()}
    assert missing <= UNKNOWN_TYPES, f"not created: {missing - UNKNOWN_TYPES}"
    for name, resource in template["Resources"].items():
        assert "ManagedPolicyArns" not in resource["Properties"], f"{name} has a policy that others maintain"
    print(f"{len(created)} of {len(types)} resources were created; the emulator does not know the types of the others.")


main()
