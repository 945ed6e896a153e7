-- Real foreign clients against the sandbox: `make interop`. Arguments: the folder for what is installed, the API's
-- descriptor set, and names of tools (all). Tools are installed while the tests of others run.

local loop = require("wgtwo.loop")
local suite = require("spec.interop.suite")
local tools = require("spec.interop.tools")

local ORDER <const> = { "curl", "python", "node", "grpcurl", "go" }

local folder, descriptor_set = arg[1], arg[2]
local source = arg[0]:match("^(.*)/[^/]*$")
local wanted = { table.unpack(arg, 3) }
if #wanted == 0 then wanted = ORDER end

loop.run(function()
  local installing = {}
  for _, name in ipairs(wanted) do installing[name] = loop.spawn(tools[name], folder, source) end
  for _, name in ipairs(wanted) do
    local tool = installing[name]:join()
    tool.folder, tool.source, tool.api = folder, source, descriptor_set
    require("spec.interop." .. name .. ".tests")(tool, suite.tests_of(name, tool.missing))
  end
end)

os.exit(suite.close(), true)
