-- The Python client with grpcio, on this project's descriptor set.

local follow = require("spec.interop.follow")
local suite = require("spec.interop.suite")

return function(python, test)
  python.env, python.resource_exhausted = { API = python.api }, "failed RESOURCE_EXHAUSTED"
  local start = follow(python, test)

  test("streams and acknowledges v1", function(sandbox)
    assert(sandbox:publish{ type = "handset_change" })
    local running <close> = start(sandbox, { "handsets", "1" }, { SCOPE = "subscription.handset_details:read" })
    running:expect("STATUS_CODE_SUCCESS")
    suite.equal(0, (running:wait()), "exit code")
    suite.acknowledged(sandbox, 1)
  end)
end
