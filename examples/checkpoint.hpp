#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/graph/saving.hpp>

/// The file from which an interrupted training goes on: DIR/name.safetensors, or nothing where no folder is given.
class Checkpoint {
 public:
  /// `state` refers to all that changes; `settings` must be the same when training is resumed.
  Checkpoint(const std::string& folder, const std::string& name, const tapestry::Archive& state,
             const std::vector<std::string>& settings)
      : state_(state) {
    for (const std::string& s : settings) settings_ += s + ' ';
    path_ = file(folder, name);
  }
  /// DIR/name.safetensors in a folder that is made, or nothing. @throws IoError
  static std::filesystem::path file(const std::string& folder, const std::string& name) {
    if (folder.empty()) return {};
    std::error_code code;
    std::filesystem::create_directories(folder, code);
    if (code) tapestry::fail<tapestry::IoError>("--checkpoint", folder, ": ", code.message());
    return std::filesystem::path(folder) / (name + ".safetensors");
  }
  /// Sets the state to the file's, where there is one.
  /// @throws IoError for a checkpoint of another model or other settings
  void resume() const {
    if (path_.empty() || !std::filesystem::exists(path_)) return;
    const auto metadata = tapestry::read_safetensors(path_).metadata;
    if (!metadata.contains("settings") || metadata.at("settings") != settings_)
      tapestry::fail<tapestry::IoError>("--checkpoint", path_.string(), ": the checkpoint of another training");
    tapestry::load(path_, state_);
  }
  void save() const {
    if (!path_.empty()) tapestry::save(path_, state_, {{"settings", settings_}});
  }

 private:
  const tapestry::Archive& state_;
  std::string settings_;
  std::filesystem::path path_;
};
