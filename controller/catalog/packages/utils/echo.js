// Answers with what it gets.
const main = (params) => params ?? {};
