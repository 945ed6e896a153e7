-- The Go client on the published Go module of the API.

local follow = require("spec.interop.follow")

return function(go, test)
  if go.defect then error(go.defect, 0) end
  follow({ argv = { go.path } }, test)
end
