// SPDX-License-Identifier: Apache-2.0

// The document of this place comes first; the list at the top of the page has the
// other one. A ?url= in the address changes nothing: who sends a link to these
// pages must not choose what they show.
const ofAPI = location.pathname.endsWith("/api/v1/docs/index.html");
const documents = [
  { name: "API", url: ofAPI ? "../api-docs" : "../api/v1/api-docs" },
  { name: "Server", url: ofAPI ? "../../../api-docs" : "../api-docs" },
];

SwaggerUIBundle({
  dom_id: "#pages",
  urls: ofAPI ? documents : documents.toReversed(),
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: "StandaloneLayout",
  deepLinking: true,
  validatorUrl: null, // asks nobody else
});
