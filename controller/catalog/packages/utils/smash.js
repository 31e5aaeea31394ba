// Puts everything under one name.
function main({ $fieldName: name, ...rest }) {
  return typeof name === 'string' ? { [name]: rest } : { error: "Expected an argument '$fieldName' of type 'string'." };
}
