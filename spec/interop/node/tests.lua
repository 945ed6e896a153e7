-- The Node client with @grpc/grpc-js, on this project's proto files.

local follow = require("spec.interop.follow")

return function(node, test)
  follow(node, test)
end
