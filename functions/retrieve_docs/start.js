// Starts Swagger UI on the description of this API.

// A token is all that the page takes: it may connect to no other host, so not to the sign-in either.
const onlyToken = () => ({
  statePlugins: {
    auth: {
      wrapSelectors: {
        definitionsToAuthorize: (original) => (...state) => original(...state)?.filter((given) => given.has("bearer")),
      },
    },
  },
});

SwaggerUIBundle({
  dom_id: "#reference",
  url: "docs/openapi.json",
  plugins: [onlyToken],
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  // Else it hands the description to a validator on the internet.
  validatorUrl: null,
});
