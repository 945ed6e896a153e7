--- gRPC's own services that the sandbox offers beside the platform's: health and reflection, as descriptor tables.
--
-- They are no part of the platform's API, so they are not in `proto/`; the names, numbers and types are those that gRPC
-- publishes. Both generations of reflection have one form.
--
-- @module wgtwo.sandbox.descriptors

local core = require "wgtwo.core"
local schema = require "wgtwo.schema"

local descriptors = {}

local function field(name, number, kind, more)
  local f = { name = name, number = number, label = "LABEL_OPTIONAL", type = "TYPE_" .. kind:upper(), json_name =
    name:gsub("_(%l)", string.upper) }
  for key, value in pairs(more or {}) do f[key] = value end
  return f
end

local function method(name, input, output, client_streaming, server_streaming)
  return { name = name, input_type = input, output_type = output, client_streaming = client_streaming,
    server_streaming = server_streaming }
end

local health = {
  name = "grpc/health/v1/health.proto", package = "grpc.health.v1", syntax = "proto3",
  message_type = {
    { name = "HealthCheckRequest", field = { field("service", 1, "string") } },
    { name = "HealthCheckResponse",
      field = { field("status", 1, "enum", { type_name = ".grpc.health.v1.HealthCheckResponse.ServingStatus" }) },
      enum_type = { { name = "ServingStatus", value = {
        { name = "UNKNOWN", number = 0 }, { name = "SERVING", number = 1 }, { name = "NOT_SERVING", number = 2 },
        { name = "SERVICE_UNKNOWN", number = 3 },
      } } } },
  },
  service = { { name = "Health", method = {
    method("Check", ".grpc.health.v1.HealthCheckRequest", ".grpc.health.v1.HealthCheckResponse", false, false),
    method("Watch", ".grpc.health.v1.HealthCheckRequest", ".grpc.health.v1.HealthCheckResponse", false, true),
  } } },
}

--- One generation of reflection: "v1" or "v1alpha".
local function reflection(version)
  local package = "grpc.reflection." .. version
  local function member(name, number, kind, type_name)
    return field(name, number, kind, { oneof_index = 0, type_name = type_name and "." .. package .. "." .. type_name })
  end
  return {
    name = ("grpc/reflection/%s/reflection.proto"):format(version), package = package, syntax = "proto3",
    message_type = {
      { name = "ServerReflectionRequest", oneof_decl = { { name = "message_request" } }, field = {
        field("host", 1, "string"), member("file_by_filename", 3, "string"),
        member("file_containing_symbol", 4, "string"),
        member("file_containing_extension", 5, "message", "ExtensionRequest"),
        member("all_extension_numbers_of_type", 6, "string"), member("list_services", 7, "string"),
      } },
      { name = "ExtensionRequest", field = { field("containing_type", 1, "string"),
        field("extension_number", 2, "int32") } },
      { name = "ServerReflectionResponse", oneof_decl = { { name = "message_response" } }, field = {
        field("valid_host", 1, "string"),
        field("original_request", 2, "message", { type_name = "." .. package .. ".ServerReflectionRequest" }),
        member("file_descriptor_response", 4, "message", "FileDescriptorResponse"),
        member("all_extension_numbers_response", 5, "message", "ExtensionNumberResponse"),
        member("list_services_response", 6, "message", "ListServiceResponse"),
        member("error_response", 7, "message", "ErrorResponse"),
      } },
      { name = "FileDescriptorResponse", field = {
        field("file_descriptor_proto", 1, "bytes", { label = "LABEL_REPEATED" }) } },
      { name = "ExtensionNumberResponse", field = { field("base_type_name", 1, "string"),
        field("extension_number", 2, "int32", { label = "LABEL_REPEATED" }) } },
      { name = "ListServiceResponse", field = { field("service", 1, "message",
        { label = "LABEL_REPEATED", type_name = "." .. package .. ".ServiceResponse" }) } },
      { name = "ServiceResponse", field = { field("name", 1, "string") } },
      { name = "ErrorResponse", field = { field("error_code", 1, "int32"), field("error_message", 2, "string") } },
    },
    service = { { name = "ServerReflection", method = {
      method("ServerReflectionInfo", "." .. package .. ".ServerReflectionRequest",
        "." .. package .. ".ServerReflectionResponse", true, true),
    } } },
  }
end

local loaded

--- The set of these services, and its schema.
-- @treturn string bytes of a FileDescriptorSet
-- @treturn userdata the core's schema
function descriptors.load()
  if not loaded then
    local bytes = core.encode(schema.type("google.protobuf.FileDescriptorSet"),
      { file = { health, reflection("v1"), reflection("v1alpha") } })
    loaded = { bytes = bytes, schema = assert(core.schema(bytes)) }
  end
  return loaded.bytes, loaded.schema
end

--- A method of these services.
-- @tparam string name "package.Service/Method"
-- @treturn table as `wgtwo.schema` gives methods
function descriptors.method(name)
  local _, set = descriptors.load()
  local found = assert(set:describe(name), name)
  local client, server = found.client_streaming, found.server_streaming
  found.path = "/" .. found.name
  found.kind = client and (server and "bidi" or "client") or server and "server" or "unary"
  return found
end

return descriptors
