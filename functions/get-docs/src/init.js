SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  tryItOutEnabled: true,
  // Otherwise Swagger UI asks a host of its own whether the document is valid.
  validatorUrl: null,
});
