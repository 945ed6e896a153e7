-- The table of a run: rows with this rock's figure, the bare client's, their ratio, and whether the target is met.

local report = {}

--- The median of some numbers.
function report.median(values)
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  local middle = #sorted // 2
  if #sorted % 2 == 1 then return sorted[middle + 1] end
  return (sorted[middle] + sorted[middle + 1]) / 2
end

local median = report.median

-- The quotients of each round: what one round's noise does to both falls out.
local function ratios(values, bare)
  local quotients = {}
  for i, value in ipairs(values) do quotients[i] = value / bare[i] end
  return quotients
end

local function meets(value, target)
  if target.least then return value >= target.least end
  return value <= target.most
end

--- A row from the samples of all rounds.
-- @tparam table o `group`, `name`, `unit`, `wgtwo` (list of figures, one a round), `bare` (the same, or nil), `target`:
-- `{least = x}` or `{most = x}`, of the ratio or, with `of = "value"`, of this rock's own figure
-- @treturn table the row
function report.row(o)
  local row = { group = o.group, name = o.name, unit = o.unit, wgtwo = median(o.wgtwo) }
  row.samples = { wgtwo = o.wgtwo, bare = o.bare }
  if o.bare then
    row.bare = median(o.bare)
    row.ratio = median(ratios(o.wgtwo, o.bare))
  end
  if o.target then
    local of = o.target.of or "ratio"
    row.target = { of = of, least = o.target.least, most = o.target.most }
    row.ok = meets(of == "ratio" and row.ratio or row.wgtwo, o.target)
  end
  return row
end

-- Three digits that count, thousands set apart: 1 234 567, 12.3, 0.87.
local function figure(number)
  if not number then return "" end
  if math.abs(number) < 9.995 then return ("%.2f"):format(number) end
  if math.abs(number) < 99.95 then return ("%.1f"):format(number) end
  local digits = ("%.0f"):format(number)
  return (digits:reverse():gsub("(%d%d%d)", "%1 "):reverse():gsub("^ ", ""))
end

local function target_text(row)
  local target = row.target
  if not target then return "" end
  local text = (target.least and ">= " or "<= ") .. figure(target.least or target.most)
  return target.of == "value" and text .. " " .. row.unit or text
end

local COLUMNS = { "row", "unit", "wgtwo", "bare", "ratio", "target", "ok" }

local function cells(row)
  return {
    row.group .. ": " .. row.name, row.unit,
    figure(row.wgtwo), figure(row.bare), row.ratio and ("%.2f"):format(row.ratio) or "",
    target_text(row), row.ok == nil and "" or row.ok and "yes" or "NO",
  }
end

--- The rows as a table in Markdown.
function report.markdown(rows)
  local lines, widths = { COLUMNS }, {}
  for _, row in ipairs(rows) do lines[#lines + 1] = cells(row) end
  for _, line in ipairs(lines) do
    for i, cell in ipairs(line) do widths[i] = math.max(widths[i] or 0, utf8.len(cell)) end
  end
  local out = {}
  for index, line in ipairs(lines) do
    local padded = {}
    for i, cell in ipairs(line) do
      local space = (" "):rep(widths[i] - utf8.len(cell))
      padded[i] = (i >= 3 and i <= 5 and index > 1) and space .. cell or cell .. space
    end
    out[#out + 1] = "| " .. table.concat(padded, " | ") .. " |"
    if index == 1 then
      local rule = {}
      for i, width in ipairs(widths) do rule[i] = ("-"):rep(width) .. (i >= 3 and i <= 5 and ":" or "-") end
      out[#out + 1] = "|-" .. table.concat(rule, "|-") .. "|"
    end
  end
  return table.concat(out, "\n")
end

local function first_match(path, pattern)
  local file = io.open(path)
  local text = file and file:read("a") or ""
  if file then file:close() end
  return text:match(pattern), select(2, text:gsub(pattern, ""))
end

local function output_of(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("l")
  pipe:close()
  return text
end

--- The machine and the versions that a run depends on.
-- @tparam string grpc the version of gRPC's C core
-- @tparam string lua the interpreter
function report.machine(grpc, lua)
  local model, cores = first_match("/proc/cpuinfo", "model name%s*:%s*([^\n]+)")
  return {
    date = os.date("!%Y-%m-%d"),
    cores = cores,
    cpu = model or "unknown",
    kernel = first_match("/proc/sys/kernel/osrelease", "%S+"),
    grpc = grpc,
    lua = output_of(lua .. " -v"):match("Lua (%S+)"),
  }
end

return report
