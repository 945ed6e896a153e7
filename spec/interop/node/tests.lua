-- The Node client with @grpc/grpc-js, on this project's proto files.

local follow = require("spec.interop.follow")

return function(node, test)
  node.resource_exhausted = "failed 8"
  follow(node, test)
end
