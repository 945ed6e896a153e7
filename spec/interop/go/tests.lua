-- The Go client on the published Go module of the API.

local follow = require("spec.interop.follow")

return function(go, test)
  if go.defect then return test("builds", function() error(go.defect, 0) end) end
  follow({ argv = { go.path }, resource_exhausted = "failed ResourceExhausted" }, test)
end
