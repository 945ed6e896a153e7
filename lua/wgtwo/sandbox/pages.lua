--- Lists that come in pages: `page_size` and `page_token` in, `next_page_token` out.
--
-- A list has 25 elements, a page 10 where the request says nothing and 100 at most (undocumented). A token is good for
-- the method that gave it, and for any page size.
--
-- @module wgtwo.sandbox.pages

local answers = require "wgtwo.sandbox.answers"
local random = require "wgtwo.sandbox.random"
local schema = require "wgtwo.schema"
local status = require "wgtwo.sandbox.status"

local pages = {}

local COUNT <const>, SIZE <const>, SIZE_MAX <const> = 25, 10, 100

--- The names of a method's fields for paging: of the request's page, the answer's page, the answer's list.
local function fields_of(method)
  local asked, answered, list
  for _, field in ipairs(schema.describe(method.input_type).fields) do
    if (field.type_name or ""):find("%.PaginationRequest$") then asked = field.name end
  end
  for _, field in ipairs(schema.describe(method.output_type).fields) do
    if (field.type_name or ""):find("%.PaginationResponse$") then answered = field.name end
    if field.label == "repeated" and field.type == "message" then list = field end
  end
  return asked, answered, list
end

local function token_of(method, offset)
  return ("%s-%d"):format(random.of(method.name):hex(8), offset)
end

local function serve(sandbox, method, asked, answered, list)
  sandbox:serve(method.name, { unary = function(_, _, request)
    local page = request[asked]
    local size, token = page and page.page_size or 0, page and page.page_token or ""
    size = math.min(size == 0 and SIZE or size, SIZE_MAX)
    local offset = 0
    if token ~= "" then
      offset = math.tointeger(tonumber(token:match("%-(%d+)$")))
      if not offset or token ~= token_of(method, offset) or offset >= COUNT then
        return nil, status.invalid(asked .. ".page_token", "is not one of this method's")
      end
    end
    local elements = {}
    for i = offset + 1, math.min(offset + size, COUNT) do
      elements[#elements + 1] = answers.element(list.type_name, ("%s %d"):format(method.name, i))
    end
    local rest = offset + size < COUNT and token_of(method, offset + size) or ""
    return { [list.name] = elements, [answered] = { next_page_token = rest } }
  end })
end

--- Serves every method that pages.
-- @tparam table sandbox the server
function pages.register(sandbox)
  for _, method in ipairs(schema.methods()) do
    local asked, answered, list = fields_of(method)
    if method.kind == "unary" and asked and answered and list then serve(sandbox, method, asked, answered, list) end
  end
end

return pages
