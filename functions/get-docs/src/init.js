SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  tryItOutEnabled: true,
  // Otherwise Swagger UI sends the document to an external validator.
  validatorUrl: null,
});
