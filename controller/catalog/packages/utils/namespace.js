// Tells for whom it runs.
const main = () => ({ namespace: process.env.__OW_NAMESPACE });
