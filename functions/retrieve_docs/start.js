// Shows the API description in Swagger UI.

// Offers only the bearer token: the Content-Security-Policy forbids requests to the sign-in.
const onlyToken = () => ({
  statePlugins: {
    auth: {
      wrapSelectors: {
        definitionsToAuthorize: (original) => (...state) => original(...state)?.filter((scheme) => scheme.has("bearer")),
      },
    },
  },
});

// Sends calls to the API that serves this page, instead of the placeholder in openapi.json.
const ownApi = () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (original) => (description) =>
          original({ ...description, servers: [{ url: new URL(".", location).href.replace(/\/$/, "") }] }),
      },
    },
  },
});

SwaggerUIBundle({
  dom_id: "#reference",
  url: "docs/openapi.json",
  plugins: [onlyToken, ownApi],
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  // By default, Swagger UI sends the description to a public validator.
  validatorUrl: null,
});
